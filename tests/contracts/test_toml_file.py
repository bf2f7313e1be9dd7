"""Settings files: what would take the parser long is refused before it is parsed."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from referral_stream.contracts.toml_file import DEEPEST, MOST_BYTES, TomlProblem, parse_toml, read_toml

SIZE = 60_000


@pytest.mark.parametrize(
    "text",
    [
        "a." * (SIZE // 2) + "a = 1",
        "a . " * (SIZE // 4) + "a = 1",
        '"a".' * (SIZE // 4) + "a = 1",
        "'a'." * (SIZE // 4) + "a = 1",
        "[" + "a." * (SIZE // 2) + "a]",
        "[[" + "a." * (SIZE // 2) + "a]]",
        "x = {" + "a." * (SIZE // 2) + "a = 1}",
        "x = " + "[" * SIZE,
        "x = [\n" * (SIZE // 6),
        "x = " + "{a=" * (SIZE // 3),
        "x = " + "[{a=" * (SIZE // 4),
        "[" * SIZE,
        'x = """a""" # "\n' + "a." * (SIZE // 2) + "a = 1",
        "x = '''\"'''\n" + "a." * (SIZE // 2) + "a = 1",
    ],
)
def test_a_bomb_is_refused_at_once_with_its_line(text: str) -> None:
    before = time.process_time()
    with pytest.raises(TomlProblem, match=f"more than {DEEPEST} parts"):
        parse_toml(text.encode(), "policy.toml")
    assert time.process_time() - before < 1


@pytest.mark.parametrize(
    "text",
    [
        '"' + '\\"' * (SIZE // 2),
        '"""' + '\\"""' * (SIZE // 4),
        'x = "' + '\\"' * (SIZE // 2),
        "'" * (SIZE + 1),
        '"' * (SIZE + 1),
        "x = '" + "\"'" * (SIZE // 2),
        "[a]\n" * (SIZE // 4),
        "[[a]]\n" * (SIZE // 6) + "=",
        "x = " + "1" * SIZE,
        "x = 1.2.3",
    ],
)
def test_what_is_no_toml_is_refused_at_once(text: str) -> None:
    before = time.process_time()
    with pytest.raises(TomlProblem, match="not TOML"):
        parse_toml(text.encode(), "policy.toml")
    assert time.process_time() - before < 1


def test_what_people_write_is_parsed() -> None:
    many = ", ".join(["1.5"] * 100)
    text = f"""
# {"a." * 100}
a.b.c = [{many}]
d = "{"a." * 100}"  # "
e = '{"[" * 100}'
f = \"\"\"{"{" * 100}
"" \\"\"\"\"
g = {{ h.i = [[1], [2]] }}
[{".".join(f"k{n}" for n in range(DEEPEST))}]
"""
    found = parse_toml(text.encode(), "policy.toml")
    assert len(found["a"]["b"]["c"]) == 100
    assert found["g"] == {"h": {"i": [[1], [2]]}}
    assert "k0" in found


@pytest.mark.parametrize("content", [b"#" * (MOST_BYTES + 1), b"a = 1\n" * MOST_BYTES])
def test_a_file_that_is_too_large_is_not_read_to_its_end(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "policy.toml"
    file.write_bytes(content)
    assert len(read_toml(file)) == MOST_BYTES + 1
    with pytest.raises(TomlProblem, match="no settings file"):
        parse_toml(read_toml(file), "policy.toml")


def test_a_file_without_an_end_is_none() -> None:
    with pytest.raises(TomlProblem, match="no settings file"):
        parse_toml(read_toml(Path("/dev/zero")), "policy.toml")
