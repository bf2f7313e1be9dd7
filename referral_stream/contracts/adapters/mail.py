"""What tools that send mail report of it: who left, who complained, where it bounced, who read it.

Their names differ and their meanings do not, so a vendor is a table: name → meaning. What a table does not list says
nothing, unless its words say that somebody wants to be left in peace.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias

from referral_stream.contracts.adapters.reading import Facts, at
from referral_stream.contracts.adapters.states import by_machine
from referral_stream.contracts.opt_outs import says_opt_out, unlisted
from referral_stream.contracts.outcomes import Fact

Meaning: TypeAlias = Literal["unsubscribe", "spam_report", "bounce", "email.opened", "email.clicked", "nothing"]

LEFT: Final = "unsubscribe"
COMPLAINED: Final = "spam_report"
BOUNCED: Final = "bounce"
OPENED: Final = "email.opened"
CLICKED: Final = "email.clicked"
NOTHING: Final = "nothing"
"""What a machine did, or what undoes an opt-out: only ``customer.unsuppressed`` lifts one."""


def meant(name: str, table: Mapping[str, Meaning], record: Any, message: str | None) -> Facts:
    """What an event of that name means. ``record``: what it tells of how it happened; ``message``: the mail's id.

    A name that the table does not list is read by its words.
    """
    return told(table[name], record, message) if name in table else unlisted(name)


def told(meaning: Meaning, record: Any = None, message: str | None = None) -> Facts:
    """The facts of a meaning; mail that a machine opened was read by nobody."""
    if meaning == NOTHING:
        return ()
    if meaning in (OPENED, CLICKED):
        mail = {} if message is None else {"message_id": message}
        return () if by_machine(record) or is_way_out(record) else (Fact(meaning, mail),)
    return (Fact("customer.suppressed", {"reason": meaning}),)


def is_way_out(record: Any) -> bool:
    """Whether the link that was clicked leads to leaving: no interest, and as scanners try it, no leaving yet."""
    return any(isinstance(link := at(record, name), str) and says_opt_out(link) for name in _LINKS)


_LINKS = ("url", "URL", "href", "link", "link_url", "linkUrl", "link_alias")
