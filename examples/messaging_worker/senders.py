"""How a message leaves the worker: to the console, or by SMTP."""

import smtplib
import ssl
from collections.abc import Callable, Mapping
from email.headerregistry import Address
from email.message import EmailMessage

from catalogue import Message

Person = Mapping[str, str]
"""An entry of the address book, as far as known (`name`, `email`, `language`, `owner`); or the owner of a customer."""

Sender = Callable[[str, str, Person, Message], None]
"""Deliver a message to a person on a channel, under a command id.

Raises Undeliverable if no attempt will ever succeed on this channel, and OSError if another one may.
"""


class Undeliverable(Exception):
    """It will not succeed on this channel, however often it is tried."""


def to_console(channel: str, command: str, person: Person, message: Message) -> None:
    print(f"--- {channel} to {person.get('name', 'the customer')} ({command})", *message[1:], sep="\n", flush=True)


def smtp(server: str, sender: str, address: str, password: str) -> Sender:
    """A sender of e-mail through `host:port`, under TLS except on this machine; with a password it logs in."""
    host, _, port = server.partition(":")
    place, author = (host, int(port or 587)), Address(sender, addr_spec=address)

    def send(_channel: str, command: str, person: Person, message: Message) -> None:
        # The same id at every attempt: mail systems that know it deliver it once.
        mail = EmailMessage()
        mail["From"], mail["Message-ID"] = author, f"<{command}@{address.rpartition('@')[2]}>"
        mail.set_content(message.text)
        try:
            mail["To"], mail["Subject"] = Address(addr_spec=person["email"]), message.subject
        except (KeyError, ValueError):
            raise Undeliverable("not one address, or none to write to") from None
        with smtplib.SMTP(*place, timeout=30) as connection:
            if password or host not in {"localhost", "127.0.0.1"}:
                connection.starttls(context=ssl.create_default_context())
            if password:
                connection.login(address, password)
            try:
                connection.send_message(mail)
            except smtplib.SMTPRecipientsRefused as refused:
                raise _judged(*(code for code, _ in refused.recipients.values())) from None
            except smtplib.SMTPDataError as refused:
                raise _judged(refused.smtp_code) from None

    return send


def _judged(code: int) -> Exception:
    """SMTP's own rule: 5xx will never succeed, 4xx may later."""
    return (Undeliverable if code >= 500 else ConnectionError)(f"refused with {code}")  # noqa: PLR2004
