"""A customer's reply to an ask, by rule: yes, maybe, no, stop, or unclear. The reply itself goes no further.

The rules are data: phrases of five languages, a file each in ``answer_phrases`` (``en.toml`` says how they are
written). The language of a reply is unknown, so all of them apply to every reply: the longest first, each word used
once. Deterministic, and in doubt ``unclear``: then a person reads the reply where it was written (after §1).
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Iterable, Iterator
from functools import cache
from importlib import resources
from typing import Any, Final, NamedTuple

from referral_stream.core.events import Answer

LANGUAGES: Final = ("en", "de", "fr", "es", "pt")

READ: Final = 4_000
"""Characters that are read. An answer that is longer is read by a person, unless an opt-out stands in what was read."""

_MARKER_ROOM: Final = 1_000
"""Further characters in which the first quoted line is looked for."""

_GAP: Final = 6
"""Words that ``…`` in a phrase may stand for."""


def read(text: str) -> Answer | None:
    """What a reply says, without what it quotes; None if it is blank. Never raises.

    ``stop`` if an opt-out phrase is in it, or if it is a single word of opting out; ``yes``, ``maybe`` or ``no`` if all
    its phrases say the same, nothing in it casts doubt on that, and it asks nothing; else ``unclear``.
    """
    text = text.strip()
    head = text[: READ + _MARKER_ROOM]
    plain = _plain(head)
    if not plain.strip() and head == text:
        return None
    own = unquoted(plain)
    is_cut = len(own) > READ or (own == plain and head != text)
    words = _words(own[:READ])
    found = _kinds(words)
    if "stop" in found:
        return "stop"
    found.discard("neutral")
    alone = _alone(own[:READ])
    if alone == "stop":
        return "stop"
    if is_cut or "?" in own or "¿" in own:
        return "unclear"
    if alone is not None:
        return alone
    if _opts_out_beside(words):
        return "unclear"
    return next((word for word, with_it in _BESIDE.items() if word in found and found <= with_it), "unclear")


_BESIDE: Final[dict[Answer, frozenset[str]]] = {
    "no": frozenset({"no", "doubt", "condition"}),
    "maybe": frozenset({"maybe", "condition"}),
    "yes": frozenset({"yes"}),
}
"""An answer → the kinds that phrases beside it may have."""


# ------------------------------------------------------------------------------------------------------------- letters


def _plain(text: str) -> str:
    """NFKC, lower case, without invisible characters, a line each line."""
    if not text.isascii():
        text = "".join(c for c in text if unicodedata.category(c) != "Cf" and not _INVISIBLE(c))
        text = unicodedata.normalize("NFKC", text)[: READ + _MARKER_ROOM]  # one character may become eighteen
        text = unicodedata.normalize("NFKC", text.casefold())
    return "\n".join(text.lower().splitlines())


_INVISIBLE = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u3164\ufe00-\ufe0f\uffa0]").fullmatch


def _bare(word: str) -> str:
    """The word without accents."""
    if word.isascii():
        return word
    return "".join(c for c in unicodedata.normalize("NFKD", word) if not unicodedata.combining(c))


def _key(word: str) -> str:
    """The word without accents, marked if it had any: ``já`` is not German ``ja``."""
    bare = _bare(word)
    return bare if bare == word else f"{bare}{_ACCENTED}"


_ACCENTED: Final = "´"


# ---------------------------------------------------------------------------------------------------------- quotations


def unquoted(text: str) -> str:
    """What stands before the first quoted or signature line of a text in lower case."""
    rules = _rules()
    lines = text.split("\n")
    for number, line in enumerate(lines):
        if _ends_here(line.strip()) or rules.quotes(lines[number : number + _HEADER_LINES]):
            return "\n".join(lines[:number])
    return text


_HEADER_LINES: Final = 4
"""Lines over which a mail program spreads whom it quotes, and when they wrote."""

_ENDS: Final = (">", "-----", "_____", "=====")
_RULES: Final = frozenset({"--", "–", "—", "---", "___", "***"})


def _ends_here(line: str) -> bool:
    return line.startswith(_ENDS) or line in _RULES


# --------------------------------------------------------------------------------------------------------------- words


class _Word(NamedTuple):
    key: str
    bare: str
    sentence: int
    opens: bool
    """Whether it is the first after a mark of punctuation, or in its line."""


_TOKEN = re.compile(r"([^\W_]+|[👍👎🙄🙃😒😠😡🤬🤮🖕😤💩])|([.!?;:])|([,()\n–—]|\s-+\s)")


def _words(text: str) -> list[_Word]:
    found: list[_Word] = []
    sentence, opens = 0, True
    for match in _TOKEN.finditer(text):
        if match[2]:
            sentence, opens = sentence + 1, True
        elif match[3]:
            opens = True
        else:
            found.append(_Word(_key(match[1]), _bare(match[1]), sentence, opens))
            opens = False
    return found


def _kinds(words: list[_Word]) -> set[str]:
    """The kinds of all phrases that are in the text: the longest first, each word used once."""
    rules = _rules()
    matches = sorted((-length, _ORDER[kind], at, end) for at, end, length, kind in _matches(words, rules))
    used = bytearray(len(words))
    kinds = set()
    for _, order, at, end in matches:
        if not any(used[at:end]):
            used[at:end] = b"\1" * (end - at)
            kinds.add(KINDS[order])
    if "doubt" not in kinds and any(
        not taken and word.bare.startswith(rules.stems) for word, taken in zip(words, used, strict=True)
    ):
        kinds.add("doubt")
    return kinds


KINDS: Final = ("neutral", "stop", "no", "doubt", "maybe", "yes", "condition")
"""What a phrase may be; of two that are equally long and share a word, the earlier counts.

``neutral`` says nothing, whatever its words say elsewhere. ``doubt`` speaks against a yes and a maybe, ``condition``
against a yes.
"""
_ORDER: Final = {kind: order for order, kind in enumerate(KINDS)}


def _matches(words: list[_Word], rules: _Rules) -> Iterator[tuple[int, int, int, str]]:
    """(first, end, number of its words, kind) of every place at which a phrase stands."""
    for at, word in enumerate(words):
        for start in (rules.anywhere, rules.opening) if word.opens else (rules.anywhere,):
            for end, length, kind in _ends(start, words, at, 0):
                yield at, end, length, kind


def _ends(place: _Place, words: list[_Word], at: int, length: int) -> Iterator[tuple[int, int, str]]:
    """(end, number of its words, kind) of every phrase of which ``length`` words are read, up to before ``at``."""
    while at < len(words):
        following = place.after(words[at])
        if following is None:
            return
        place, at, length = following, at + 1, length + 1
        for kind in place.kinds:
            yield at, length, kind
        if place.later is not None:
            for later in range(at, min(at + _GAP + 1, len(words))):
                if words[later].sentence != words[at - 1].sentence:
                    break
                if place.later.after(words[later]) is not None:
                    yield from _ends(place.later, words, later, length)


_SHORT_LINE: Final = 5
"""Words at most of a greeting, thanks, or a name."""


def _alone(text: str) -> Answer | None:
    """What a word says that is the whole text, except for a greeting, thanks and a name in lines of their own.

    ``unclear`` where a line opts out with a single word, and the others are more than that.
    """
    rules = _rules()
    said: set[Answer] = set()
    others: list[list[_Word]] = []
    for line in text.split("\n"):
        words = _words(line)
        heard = {rules.alone.get(word.key) for word in words if word.bare not in rules.courtesy}
        if heard and None not in heard:
            said |= {word for word in heard if word is not None}
        else:
            others.append(words)
    if said and any(len(words) > _SHORT_LINE or _kinds(words) for words in others):
        return "unclear" if "stop" in said else None
    return said.pop() if len(said) == 1 else None


def _opts_out_beside(words: list[_Word]) -> bool:
    """Whether a single word of opting out stands alone between marks of punctuation, courtesy aside: "Yes, optout"."""
    rules = _rules()
    parts: list[list[_Word]] = []
    for word in words:
        if word.opens:
            parts.append([])
        if word.bare not in rules.courtesy:
            parts[-1].append(word)
    return any(len(part) == 1 and rules.alone.get(part[0].key) == "stop" for part in parts)


# --------------------------------------------------------------------------------------------------------------- lists


class _State:
    """A place in one phrase: which words may come next, and what the phrase says if it ends here."""

    __slots__ = ("kind", "later", "next")

    def __init__(self) -> None:
        self.next: dict[str, list[_State]] = {}
        self.kind: str | None = None
        self.later: _State | None = None
        """Set where ``…`` stands: what follows it."""


class _Place:
    """A place in all phrases that begin with the same words; made when a reply first comes there."""

    __slots__ = ("_next", "_states", "_words", "kinds", "later")

    def __init__(self, states: Iterable[_State]) -> None:
        self._states = tuple(states)
        self._words = {word for state in self._states for word in state.next}
        self._next: dict[str, _Place] = {}
        self.kinds = tuple({state.kind for state in self._states if state.kind is not None})
        later = [state.later for state in self._states if state.later is not None]
        self.later = _Place(later) if later else None

    def after(self, word: _Word) -> _Place | None:
        """The place behind this word; None if no phrase goes on with it."""
        keys = self._words.intersection((word.key, f"{_LOOSE}{word.bare}"))
        if keys and word.key not in self._next:
            self._next[word.key] = _Place(
                each for state in self._states for key in keys for each in state.next.get(key, ())
            )
        return self._next.get(word.key)


_LOOSE: Final = "~"
"""Before a word that may be written with any accents."""


class _Rules:
    """The lists of all languages, as they are looked up."""

    def __init__(self, lists: Iterable[dict[str, Any]]) -> None:
        anywhere, opening = _State(), _State()
        self.alone: dict[str, Answer] = {}
        self.courtesy: set[str] = set()
        self._quoted: list[list[str]] = []
        signed: list[str] = []
        self._from: list[str] = []
        self._sent: list[str] = []
        stems: set[str] = set()
        for table in lists:
            stems |= {_bare(stem) for stem in table["doubt_stems"]}
            for kind in KINDS:
                for phrase in table.get(kind, ()):
                    _add(phrase, kind, opening if phrase.startswith("^") else anywhere)
            for answer, words in table["alone"].items():
                for spelt in (spelt for word in words for spelt in _spellings(word)):
                    self.alone |= dict.fromkeys(_keys(spelt, loose=False), answer)
            self.courtesy |= {_bare(word) for word in table["courtesy"]}
            mail = table["mail"]
            self._quoted += [[_plain(part).strip() for part in line.split("…")] for line in mail["quoted"]]
            signed += mail["signed"]
            self._from += mail["from"]
            self._sent += mail["sent"]
        self._signed = tuple(signed)
        self.stems = tuple(sorted(stems))
        self.anywhere, self.opening = _Place([anywhere]), _Place([opening])

    def quotes(self, lines: list[str]) -> bool:
        """Whether the first of these lines says whom the text below quotes, or which program signed."""
        first = lines[0].strip(" \t*_")
        if not first:
            return False
        if len(first.split()) <= _SIGNED and first.startswith(self._signed):
            return True
        if _heads(first, self._from) and any(_heads(line.strip(" \t*_"), self._sent) for line in lines[1:]):
            return True
        more = _MEANS_SOMEBODY.search(first) is not None
        joined = ""
        for line in lines[: _HEADER_LINES - 1] if more else lines[:1]:
            joined = f"{joined} {line.strip()}".strip()
            if len(joined) > _LONGEST_HEADER:
                return False
            if joined.endswith(":") and any(_fits(joined, parts) for parts in self._quoted):
                return True
        return False


def _add(phrase: str, kind: str, start: _State) -> None:
    """Make the phrase one that begins at this place."""
    at = [start]
    for chunk in _CHUNK.findall(phrase.removeprefix("^")):
        end = _State()
        if chunk == "…":
            for state in at:
                state.later = end
            at = [end]
            continue
        further = [end]
        for words in choices(chunk):
            if words:
                for state in at:
                    _lead(state, words, end, loose=kind in _PROTECTIVE)
            else:
                further += at
        at = further
    for state in at:
        state.kind = kind


_CHUNK = re.compile(r"(?:\([^()]*\)|\[[^\[\]]*\]|[^\s()\[\]])+")
"""A part of a phrase that stands between spaces which are not inside brackets."""


def choices(chunk: str) -> list[tuple[str, ...]]:
    """The words that a part of a phrase may be: ``(a|b)`` is one of them, ``[a|b]`` one of them or nothing."""
    return [tuple(spelt.split()) for made in _choices(chunk) for spelt in _spellings(made)]


def _lead(state: _State, words: tuple[str, ...], end: _State, *, loose: bool) -> None:
    """Let these words lead from one place to another."""
    for number, word in enumerate(words):
        following = end if number == len(words) - 1 else _State()
        for key in _keys(word, loose=loose):
            state.next.setdefault(key, []).append(following)
        state = following


_PROTECTIVE: Final = frozenset({"stop", "no", "doubt", "condition"})
"""Kinds that are found whatever accents are written."""

_SIGNED: Final = 7
"""Words at most of "Sent from my phone"."""
_LONGEST_HEADER: Final = 400
_MEANS_SOMEBODY = re.compile(r"[0-9@<]")


def _heads(line: str, names: list[str]) -> bool:
    """Whether the line is a header with one of these names."""
    name, colon, _ = line.partition(":")
    return bool(colon) and name.strip(" \t*_") in names


def _fits(line: str, parts: list[str]) -> bool:
    """Whether the line consists of these parts, with anything between."""
    if not line.startswith(parts[0]):
        return False
    at = len(parts[0])
    for part in parts[1:]:
        at = line.find(part, at)
        if at < 0:
            return False
        at += len(part)
    return line.endswith(parts[-1])


def _keys(word: str, *, loose: bool) -> tuple[str, ...]:
    """How a word of a phrase may be written: with its accents or without, unless ``=`` says exactly so."""
    if word.startswith("="):
        return (_key(word[1:]),)
    if loose:
        return (f"{_LOOSE}{_bare(word)}",)
    key = _key(word)
    return (key,) if key == word else (key, _bare(word))


def _spellings(phrase: str) -> set[str]:
    """A phrase with apostrophes and hyphens as gaps and left out; ``ö`` is also written ``oe``."""
    if phrase.isascii() and phrase.isalpha():
        return {phrase}
    phrase = unicodedata.normalize("NFC", phrase.casefold())
    found = {_JOINTS.sub(" ", phrase), _JOINTS.sub("", phrase)}
    return found | {each.translate(_UMLAUTS) for each in found}


_JOINTS = re.compile("['’-]")
_UMLAUTS = {ord(umlaut): f"{vowel}e" for umlaut, vowel in zip("äöü", "aou", strict=True)}


_CHOICE = re.compile(r"\(([^()\[\]]*)\)|\[([^()\[\]]*)\]")


def _choices(phrase: str) -> Iterator[str]:
    match = _CHOICE.search(phrase)
    if match is None:
        yield phrase
        return
    before, after = phrase[: match.start()], phrase[match.end() :]
    options = match[1].split("|") if match[1] is not None else ["", *match[2].split("|")]
    for rest in _choices(after):
        for option in options:
            yield f"{before}{option}{rest}"


@cache
def phrase_list(language: str) -> dict[str, Any]:
    """The lists of one language as they are written."""
    file = resources.files(__package__) / "answer_phrases" / f"{language}.toml"
    return tomllib.loads(file.read_text(encoding="utf-8"))


@cache
def _rules() -> _Rules:
    return _Rules(map(phrase_list, LANGUAGES))
