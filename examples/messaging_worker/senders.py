"""How a message leaves the worker: to the console, or by SMTP."""

from __future__ import annotations

import smtplib
from collections.abc import Callable, Mapping
from email.message import EmailMessage
from email.utils import formataddr
from typing import TypeAlias

Person: TypeAlias = Mapping[str, str]
"""An entry of the address book: `name`, `email`, `language`, as far as known."""

Sender: TypeAlias = Callable[[str, str, Person, str, str], None]
"""Deliver on a channel, under a command id, to a person, a subject and a text."""

_SMTP_SECONDS = 30


class Undeliverable(Exception):
    """It will not succeed on this channel, however often it is tried."""


class NotNow(Exception):
    """The service is away or asks for patience: worth another try."""


def to_console(channel: str, command: str, person: Person, subject: str, text: str) -> None:
    to = person.get("email") if channel == "email" else person.get("name")
    print(f"--- {channel} to {to or 'the customer'} ({command})", *filter(None, (subject, text)), "", sep="\n", flush=True)


def smtp(url: str, sender: str, address: str, password: str) -> Sender:
    """A sender of e-mail through `host:port`; with a password it logs in, after STARTTLS."""
    host, _, port = url.partition(":")

    def send(_channel: str, command: str, person: Person, subject: str, text: str) -> None:
        if "email" not in person:
            raise Undeliverable("no address")
        mail = EmailMessage()
        mail["From"], mail["To"], mail["Subject"] = formataddr((sender, address)), person["email"], subject
        # The same at every attempt: mail systems that know it deliver it once.
        mail["Message-ID"] = f"<{command}@{address.rpartition('@')[2]}>"
        mail.set_content(text)
        try:
            with smtplib.SMTP(host, int(port or 587), timeout=_SMTP_SECONDS) as server:
                if password:
                    server.starttls()
                    server.login(address, password)
                server.send_message(mail)
        except smtplib.SMTPRecipientsRefused as refused:
            raise _judged(min(code for code, _ in refused.recipients.values())) from None
        except smtplib.SMTPResponseException as refused:
            raise _judged(refused.smtp_code) from None
        except (OSError, smtplib.SMTPException) as away:
            raise NotNow(type(away).__name__) from None

    return send


def _judged(code: int) -> Exception:
    """SMTP's own rule: 4xx may succeed later, 5xx never will."""
    return Undeliverable(f"refused with {code}") if code >= 500 else NotNow(f"refused with {code}")  # noqa: PLR2004
