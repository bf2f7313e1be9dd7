"""Where in a TOML file a key stands: the parser does not say, and a person with an editor wants the line."""

from __future__ import annotations

import re
from collections import Counter

_HEADER = re.compile(r"\s*\[(\[?[^\[\]]+\]?)\]\s*(?:#.*)?$")
_KEY = re.compile(r"\s*(\"[^\"]*\"|'[^']*'|[\w-]+)((?:\s*\.\s*(?:\"[^\"]*\"|'[^']*'|[\w-]+))*)\s*=")


class Lines:
    """The lines of a file, by table and key: as good as can be told without a parser of our own."""

    def __init__(self, text: str) -> None:
        self._headers: dict[tuple[str, int], int] = {}
        self._keys: dict[tuple[str, int], list[tuple[str, int]]] = {}
        seen: Counter[str] = Counter()
        now = ("", 1)
        for number, line in enumerate(text.split("\n"), 1):
            if (header := _HEADER.match(line)) is not None:
                name = header[1].replace(" ", "")
                seen[name] += 1
                now = (name, seen[name])
                self._headers[now] = number
            elif (key := _KEY.match(line)) is not None:
                self._keys.setdefault(now, []).append((_bare(key[1] + key[2]), number))

    def of(self, header: str, number: int, key: str) -> int | None:
        """The line of a key in the ``number``-th table of that header; that of the table where it is not found.

        A header of several tables is written as in the file, without the outer brackets: ``[mapping]``. Without a
        header the key says in which table it is.
        """
        steps = key.split(".")
        if not header:
            headers = (".".join(steps[:most]) for most in range(len(steps), 0, -1))
            header = next((name for name in headers if (name, 1) in self._headers), "")
            steps = steps[len(header.split(".")) :] if header else steps
        table = (header, number)
        keys = self._keys.get(table, [])
        for most in range(len(steps), 0, -1):
            text = ".".join(steps[:most])
            for written, line in keys:
                if written == text or written.startswith(f"{text}."):
                    return line
        return self._headers.get(table)


def _bare(key: str) -> str:
    return ".".join(part.strip().strip("\"'") for part in key.split("."))
