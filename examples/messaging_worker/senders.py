"""How a message leaves the worker: to the console, or by SMTP."""

from __future__ import annotations

import smtplib
import ssl
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
    print(f"--- {channel} to {person.get('name', 'the customer')} ({command})", subject, text, sep="\n", flush=True)


def smtp(server: str, sender: str, address: str, password: str) -> Sender:
    """A sender of e-mail through `host:port`; with a password it logs in, after STARTTLS."""
    host, _, port = server.partition(":")

    def send(_channel: str, command: str, person: Person, subject: str, text: str) -> None:
        mail = EmailMessage()
        try:
            recipient = person["email"].encode("ascii").decode()
            mail["From"], mail["To"], mail["Subject"] = formataddr((sender, address)), recipient, subject
            # The same at every attempt: mail systems that know it deliver it once.
            mail["Message-ID"] = f"<{command}@{address.rpartition('@')[2]}>"
            mail.set_content(text)
            with smtplib.SMTP(host, int(port or 587), timeout=_SMTP_SECONDS) as connection:
                if password:
                    connection.starttls(context=ssl.create_default_context())
                    connection.login(address, password)
                connection.send_message(mail)
        except (KeyError, ValueError):
            raise Undeliverable("no address, or none to write to") from None
        except smtplib.SMTPRecipientsRefused as refused:
            raise _judged(*(code for code, _ in refused.recipients.values())) from None
        except smtplib.SMTPDataError as refused:
            raise _judged(refused.smtp_code) from None
        except OSError as away:  # smtplib's other errors among them, such as a wrong password: ours to mend
            raise NotNow(type(away).__name__) from None

    return send


def _judged(code: int) -> Exception:
    """SMTP's own rule: 4xx may succeed later, 5xx never will."""
    return Undeliverable(f"refused with {code}") if code >= 500 else NotNow(f"refused with {code}")  # noqa: PLR2004
