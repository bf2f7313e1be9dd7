"""Making visible what must not act: for every place where people read what comes from a log or a topic."""

from __future__ import annotations


def visible(text: str) -> str:
    r"""One line, with all that a terminal might obey or a reader not see as escapes: ``\n``, ``\x1b``, ``\u202e``.

    Whatever comes from a log goes through it: an id must not write a line of its own, nor hide one.
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)
