"""The example worker's e-mail, through a real SMTP server."""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope

from tests.messaging.example import module
from tests.services.certificates import issue_certificates
from tests.services.process import free_port

senders = module("senders")
Message = module("catalogue").Message

ANA = {"name": "Ana Example", "email": "ana@customers.example"}


@dataclass
class Mailbox:
    """Takes every mail, but for addresses it was told to answer otherwise."""

    answers: dict[str, str] = field(default_factory=dict)
    verdict: str = "250 taken"
    mails: list[EmailMessage] = field(default_factory=list)
    logins: list[bytes] = field(default_factory=list)

    async def handle_RCPT(self, _server: Any, _session: Any, envelope: Envelope, address: str, _options: Any) -> str:  # noqa: N802 (aiosmtpd's)
        envelope.rcpt_tos.append(address)
        return self.answers.get(address, "250 OK")

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Envelope) -> str:  # noqa: N802 (aiosmtpd's)
        assert isinstance(envelope.content, bytes)
        mail = message_from_bytes(envelope.content, policy=default)
        assert isinstance(mail, EmailMessage)
        self.mails.append(mail)
        return self.verdict

    def authenticate(self, _server: Any, _session: Any, _envelope: Any, _mechanism: str, said: Any) -> AuthResult:
        self.logins.append(said.login)
        return AuthResult(success=said.password == b"secret", handled=False)


@pytest.fixture
def mailbox() -> Mailbox:
    return Mailbox()


@pytest.fixture
def server(mailbox: Mailbox) -> Iterator[str]:
    controller = Controller(mailbox, hostname="127.0.0.1", port=free_port())
    controller.start()
    yield f"{controller.hostname}:{controller.port}"
    controller.stop()


def send(
    server: str, person: dict[str, str], subject: str = "Thank you", text: str = "Hello", password: str = ""
) -> None:
    senders.smtp(server, "Robin of Acme", "robin@acme.example", password)(
        "email", "cmd-1", person, Message("en", subject, text)
    )


def test_a_mail_has_sender_subject_text_and_the_command_id_as_message_id(server: str, mailbox: Mailbox) -> None:
    text = "Guten Tag,\n\ndanke für die Bestnote – und für Ihr Vertrauen.\n" + "lang " * 300
    send(server, ANA, "Für Sie", text)
    (mail,) = mailbox.mails
    assert (mail["From"], mail["To"], mail["Subject"], mail["Message-ID"]) == (
        "Robin of Acme <robin@acme.example>",
        "ana@customers.example",
        "Für Sie",
        "<cmd-1@acme.example>",
    )
    assert mail.get_content().replace("\r\n", "\n").rstrip() == text.rstrip()


def test_the_same_command_has_the_same_message_id_at_every_attempt(server: str, mailbox: Mailbox) -> None:
    send(server, ANA)
    send(server, ANA)
    assert len({mail["Message-ID"] for mail in mailbox.mails}) == 1


@pytest.mark.parametrize(
    ("answer", "raised"),
    [("550 no such user", senders.Undeliverable), ("450 mailbox busy", OSError), ("421 too many", OSError)],
)
def test_a_refusal_for_good_and_one_for_now_are_told_apart(
    server: str, mailbox: Mailbox, answer: str, raised: type[Exception]
) -> None:
    mailbox.answers[ANA["email"]] = answer
    with pytest.raises(raised, match=f"refused with {answer[:3]}"):
        send(server, ANA)
    assert mailbox.mails == []


@pytest.mark.parametrize(
    "person",
    [
        {},
        {"email": "ana@x.example\nBcc: all@x.example"},
        {"email": "änä@x.example"},
        {"email": "ana@x.example, all@x.example"},
        {"email": "Team: ana@x.example, all@x.example;"},
    ],
)
def test_who_has_no_usable_address_can_not_be_written_to(server: str, mailbox: Mailbox, person: dict[str, str]) -> None:
    with pytest.raises(senders.Undeliverable):
        send(server, person)
    assert mailbox.mails == []


def test_a_server_that_is_away_is_worth_another_try() -> None:
    with pytest.raises(ConnectionRefusedError):
        send(f"127.0.0.1:{free_port()}", ANA)


def test_a_password_is_never_sent_without_tls(server: str, mailbox: Mailbox) -> None:
    with pytest.raises(smtplib.SMTPNotSupportedError):
        send(server, ANA, password="secret")
    assert mailbox.logins == []


def test_without_a_password_too_it_asks_another_machine_for_tls(server: str, mailbox: Mailbox) -> None:
    """127.1 is another name of this one."""
    with pytest.raises(smtplib.SMTPNotSupportedError):
        send(server.replace("127.0.0.1", "127.1"), ANA)
    assert mailbox.mails == []


def test_a_mail_that_is_refused_for_what_it_says_is_not_tried_again(server: str, mailbox: Mailbox) -> None:
    mailbox.verdict = "554 we do not want this"
    with pytest.raises(senders.Undeliverable, match="refused with 554"):
        send(server, ANA)


def test_no_reason_given_names_the_person(server: str, mailbox: Mailbox) -> None:
    mailbox.answers[ANA["email"]] = f"550 {ANA['email']} is unknown"
    with pytest.raises(senders.Undeliverable) as refused:
        send(server, ANA)
    assert "ana" not in str(refused.value).lower()


@pytest.mark.parametrize(("password", "arrives"), [("secret", True), ("wrong", False)])
def test_with_a_password_it_logs_in_and_only_under_tls(
    mailbox: Mailbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, password: str, arrives: bool
) -> None:
    certificates = issue_certificates(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.server)
    controller = Controller(
        mailbox,
        hostname="127.0.0.1",
        port=free_port(),
        tls_context=context,
        require_starttls=True,
        authenticator=mailbox.authenticate,
        auth_required=True,
    )
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.authority))
    controller.start()
    try:
        if arrives:
            send(f"127.0.0.1:{controller.port}", ANA, password=password)
        else:
            # Ours to mend: nobody's ask must be lost by it.
            with pytest.raises(smtplib.SMTPAuthenticationError):
                send(f"127.0.0.1:{controller.port}", ANA, password=password)
    finally:
        controller.stop()
    assert set(mailbox.logins) == {b"robin@acme.example"}
    assert len(mailbox.mails) == arrives
