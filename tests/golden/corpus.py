"""The cases of the corpus: where their files are, and how a log becomes its outputs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from referral_stream.contracts.inbound.adapt import Boundary
from referral_stream.core.policy import Policy
from referral_stream.policy_file.reading import parse_policy
from referral_stream.replay.files import replay_file
from referral_stream.runtime.settings import replay_email_key

ROOT = Path(__file__).parent
OUTPUTS = ("decisions.jsonl", "asks.jsonl", "dead-letters.jsonl")

SPECIFICATION = ROOT.parents[1] / "docs" / "specification" / "semantics.md"
SECTIONS = {
    number: title
    for number, title in re.findall(r"^## §(\d+) (.+)$", SPECIFICATION.read_text(encoding="utf-8"), flags=re.MULTILINE)
    if number not in ("0", "7", "11")
}
"""The sections of the specification of behaviour that a log of facts can show in the outputs of the corpus."""


@dataclass(frozen=True)
class Case:
    """A folder with ``log.jsonl``, its expected outputs, a ``README.md``, and perhaps a ``policy.toml``."""

    name: str

    def __str__(self) -> str:
        return self.name

    @property
    def folder(self) -> Path:
        return ROOT / self.name

    @property
    def log(self) -> Path:
        return self.folder / "log.jsonl"

    @property
    def policy_file(self) -> Path | None:
        """None: the default policy."""
        file = self.folder / "policy.toml"
        return file if file.exists() else None

    @property
    def readme(self) -> str:
        return (self.folder / "README.md").read_text(encoding="utf-8")

    def expected(self) -> dict[str, bytes]:
        """The committed outputs by file name."""
        return {name: (self.folder / name).read_bytes() for name in OUTPUTS}

    def replayed(self, output: Path) -> dict[str, bytes]:
        """What a replay writes into ``output``, by file name; the same as ``referral-stream replay`` does."""
        policy = Policy() if self.policy_file is None else parse_policy(self.policy_file.read_bytes())
        replay_file(self.log, output, policy, Boundary(email_key=replay_email_key({})))
        return {name: (output / name).read_bytes() for name in OUTPUTS}


def all_cases() -> list[Case]:
    """Every case there is, by name."""
    return [Case(log.parent.name) for log in sorted(ROOT.glob("*/log.jsonl"))]
