"""A mail server to write to, and a policy under which somebody may be written to at any hour."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import Envelope

from tests.services.process import free_port

POLICY = """
name = "at any hour"
[moments]
rival_wait_seconds = 0
slot_weekday = "none"
quiet_from = "23:59"
quiet_until = "00:00"
quiet_weekdays = []
[triggers.nps_promoter]
window_hours = 1
settle_seconds = 1
[holdout]
percent = 0
"""
"""The clock of worker and pipeline is the real one, so every weekday has to do."""


def noon(now: int) -> str:
    """A zone in which it is some minutes past twelve."""
    ahead = 12 - datetime.fromtimestamp(now / 1_000, UTC).hour
    return f"Etc/GMT{-ahead:+d}"  # their signs are those of POSIX: ahead of UTC is minus


@dataclass
class Mailbox:
    """Takes every mail but those to a domain that is gone.

    ``on_mail`` happens once, when a mail is here and its sender does not know that yet.
    """

    mails: list[EmailMessage] = field(default_factory=list)
    on_mail: Callable[[], object] | None = None

    async def handle_RCPT(self, _server: Any, _session: Any, envelope: Envelope, address: str, _options: Any) -> str:  # noqa: N802 (aiosmtpd's)
        if address.endswith("@gone.example"):
            return "550 no such domain"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Envelope) -> str:  # noqa: N802 (aiosmtpd's)
        assert isinstance(envelope.content, bytes)
        mail = message_from_bytes(envelope.content, policy=default)
        assert isinstance(mail, EmailMessage)
        self.mails.append(mail)
        if self.on_mail is not None:
            befalls, self.on_mail = self.on_mail, None
            befalls()
        return "250 taken"

    def received(self) -> list[tuple[str, str]]:
        """(recipient, Message-ID) of every mail, in order."""
        return [(str(mail["To"]), str(mail["Message-ID"])) for mail in self.mails]


@contextmanager
def serving(mailbox: Mailbox) -> Iterator[str]:
    """An SMTP server with this mailbox, meanwhile; its ``host:port``."""
    controller = Controller(mailbox, hostname="127.0.0.1", port=free_port())
    controller.start()
    try:
        yield f"{controller.hostname}:{controller.port}"
    finally:
        controller.stop()
