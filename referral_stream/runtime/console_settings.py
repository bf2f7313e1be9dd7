"""What may be set of the console: where it listens, and who may see it."""

from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Final, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from referral_stream.runtime.addresses import is_loopback, is_public_url, may_be_listened_on
from referral_stream.runtime.listed import comma_separated
from referral_stream.runtime.oidc_settings import OidcOptions

_HEADER: Final = re.compile(r"[A-Za-z0-9-]{1,64}")
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


def _networks(given: tuple[str, ...]) -> tuple[str, ...]:
    for each in given:
        try:
            ip_network(each)
        except ValueError:
            raise ValueError(f"{each!r} is neither an address nor a network, for example 10.0.0.0/8") from None
    return given


def _a_header(name: str) -> str:
    if not _HEADER.fullmatch(name):
        raise ValueError("is not the name of a header, for example X-Forwarded-User")
    return name


class ConsoleOptions(OidcOptions):
    """The console's own settings, beside those of a worker.

    A person comes in with a token of ``console_tokens_file``, by the word of an OpenID provider, or by that of a proxy
    in front: the name in ``console_user_header``, from an address in ``console_trusted_proxies`` alone. Whom provider
    or proxy name is a viewer, and an operator only where ``console_operators`` has the name, or the provider a claim.
    """

    console_host: Annotated[str, AfterValidator(may_be_listened_on)] = "127.0.0.1"
    console_port: Annotated[int, Field(ge=0, le=65_535)] = 8090
    console_public_url: Annotated[str, AfterValidator(is_public_url)] | None = None
    console_tokens_file: Path | None = None
    console_session_hours: Annotated[float, Field(gt=0, le=168)] = 12.0
    console_trusted_proxies: Annotated[
        tuple[str, ...], BeforeValidator(comma_separated), AfterValidator(_networks)
    ] = ()
    console_user_header: Annotated[str, AfterValidator(_a_header)] = "X-Forwarded-User"
    console_operators: Annotated[tuple[str, ...], BeforeValidator(comma_separated)] = ()

    @model_validator(mode="after")
    def _private(self) -> Self:
        url = self.console_public_url or ""
        if not is_loopback(self.console_host) and not url.startswith("https://"):
            raise ValueError(
                "REFERRAL_STREAM_CONSOLE_HOST: beyond this machine, sessions travel over TLS alone: end TLS in front "
                "and set REFERRAL_STREAM_CONSOLE_PUBLIC_URL to its https:// address"
            )
        if self.console_tokens_file is None and not self.console_trusted_proxies and not self.console_oidc_issuer:
            raise ValueError(
                "REFERRAL_STREAM_CONSOLE_TOKENS_FILE: nobody could log in: make a token with "
                "`referral-stream console token NAME`, or set REFERRAL_STREAM_CONSOLE_OIDC_ISSUER or "
                "REFERRAL_STREAM_CONSOLE_TRUSTED_PROXIES"
            )
        if self.console_oidc_issuer and not (self.is_secure or is_loopback(urlsplit(url).hostname or "")):
            raise ValueError(
                "REFERRAL_STREAM_CONSOLE_PUBLIC_URL: the provider sends people back there: set it to the https:// "
                "address that browsers call, or to http://127.0.0.1:PORT to try it on this machine"
            )
        return self

    @property
    def trusted(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """The networks whose word about a user counts."""
        return tuple(ip_network(each) for each in self.console_trusted_proxies)

    @property
    def hosts(self) -> tuple[str, ...]:
        """The names under which the console is called, without ports: any other is somebody else's page."""
        public = urlsplit(self.console_public_url).hostname if self.console_public_url else None
        return (*sorted(_LOOPBACK), *([public] if public else []))

    @property
    def is_secure(self) -> bool:
        """Whether browsers come over TLS."""
        return (self.console_public_url or "").startswith("https://")
