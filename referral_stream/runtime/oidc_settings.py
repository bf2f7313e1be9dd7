"""What may be set of the console's login at an OpenID provider: whose word counts, and whom it lets in.

A provider may know the whole world, so nobody comes in whom the settings do not allow.
"""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from typing import Annotated, Final, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, SecretStr, model_validator

from referral_stream.runtime.addresses import is_loopback
from referral_stream.runtime.listed import comma_separated

_DOMAIN: Final = re.compile(r"@[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63})+")
_SCOPE: Final = re.compile(r"[\x21\x23-\x5B\x5D-\x7E]+")
_SELF_CHOSEN: Final = frozenset({
    "name", "given_name", "family_name", "middle_name", "nickname", "profile", "picture", "website",
})  # fmt: skip
"""Claims that providers let people fill in as they like: with one of them anyone could be anyone."""
_ISSUER: Final = "REFERRAL_STREAM_CONSOLE_OIDC_ISSUER"


def _an_issuer(url: str) -> str:
    parts = urlsplit(url)
    is_private = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or ""))
    if not is_private or not parts.hostname or parts.query or parts.fragment or parts.username:
        raise ValueError(
            "must begin with https:// and have no query, for example https://login.example.com/realms/staff"
        )
    return url


def _scopes(given: tuple[str, ...]) -> tuple[str, ...]:
    if "openid" not in given or not all(_SCOPE.fullmatch(each) for each in given):
        raise ValueError("scopes separated by commas, of which one is openid")
    return given


def _allowed(given: tuple[str, ...]) -> tuple[str, ...]:
    found = tuple(each.lower() if each.startswith("@") else each for each in given)
    for each in found:
        if each.startswith("@") and not _DOMAIN.fullmatch(each):
            raise ValueError(f"{each!r} is not a domain, for example @example.com")
    _claims(tuple(each for each in found if "=" in each))
    return found


def _claims(given: tuple[str, ...]) -> tuple[str, ...]:
    for each in given:
        claim, sign, value = each.partition("=")
        if not (claim and sign and value) or each.startswith("@"):
            raise ValueError(f"{each!r}: write claim=value, for example groups=referrals")
        if claim == "email":  # which counts only where it is verified
            raise ValueError("write the address alone, in REFERRAL_STREAM_CONSOLE_OIDC_ALLOWED or _CONSOLE_OPERATORS")
    return given


def _names(claim: str) -> str:
    if claim in _SELF_CHOSEN:
        raise ValueError(f"people choose their {claim!r} themselves; take email, sub, or what your provider assigns")
    return claim


class OidcOptions(BaseModel):
    """Whose word about a person the console takes, and who may come in and do what by it.

    ``console_oidc_allowed``: names, domains (``@example.com``: of verified addresses) and claims (``groups=staff``), of
    which one has to suit. Operators are those of ``console_operators``, and those with a claim of
    ``console_oidc_operators``; they have to be allowed as well, so that one who has left is neither.
    """

    console_oidc_issuer: Annotated[str, AfterValidator(_an_issuer)] | None = None
    console_oidc_client_id: Annotated[str, Field(min_length=1, max_length=500)] | None = None
    console_oidc_client_secret: SecretStr | None = None
    console_oidc_ca_file: Path | None = None
    console_oidc_scopes: Annotated[tuple[str, ...], BeforeValidator(comma_separated), AfterValidator(_scopes)] = (
        "openid", "email", "profile",
    )  # fmt: skip
    console_oidc_name_claim: Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_names)] = "email"
    console_oidc_allowed: Annotated[tuple[str, ...], BeforeValidator(comma_separated), AfterValidator(_allowed)] = ()
    console_oidc_operators: Annotated[tuple[str, ...], BeforeValidator(comma_separated), AfterValidator(_claims)] = ()

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.console_oidc_issuer is None:
            if given := sorted(name for name in self.model_fields_set if name.startswith("console_oidc_")):
                raise ValueError(f"{_ISSUER}: set it, or unset REFERRAL_STREAM_{given[0].upper()}")
            return self
        if importlib.util.find_spec("joserfc") is None:
            raise ValueError(f"{_ISSUER} needs the extra oidc: {sys.executable} -m pip install 'joserfc>=1.7,<2'")
        if not self.console_oidc_client_id:
            raise ValueError("REFERRAL_STREAM_CONSOLE_OIDC_CLIENT_ID: set it: what the provider calls this console")
        if self.console_oidc_client_secret is None or not self.console_oidc_client_secret.get_secret_value():
            raise ValueError(
                "REFERRAL_STREAM_CONSOLE_OIDC_CLIENT_SECRET: set it, or its _FILE: what the provider gave this console"
            )
        if not self.console_oidc_allowed:
            raise ValueError(
                "REFERRAL_STREAM_CONSOLE_OIDC_ALLOWED: nobody could come in: set names, @domains or claim=value, "
                "separated by commas"
            )
        return self

    @property
    def allowed_names(self) -> frozenset[str]:
        return frozenset(each for each in self.console_oidc_allowed if not each.startswith("@") and "=" not in each)

    @property
    def allowed_domains(self) -> frozenset[str]:
        return frozenset(each[1:] for each in self.console_oidc_allowed if each.startswith("@"))

    @property
    def allowed_claims(self) -> frozenset[str]:
        return frozenset(each for each in self.console_oidc_allowed if "=" in each)

    @property
    def asked_claims(self) -> frozenset[str]:
        """The claims, with their values, on which something depends."""
        return self.allowed_claims | frozenset(self.console_oidc_operators)
