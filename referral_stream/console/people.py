"""People whom an OpenID provider vouches for: what is remembered of them, and what the settings make of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec

from referral_stream.runtime.settings import ConsoleSettings

Role = Literal["viewer", "operator"]
_MOST_CHARACTERS: Final = 128


class ProviderAway(Exception):
    """Why the provider cannot be used now; for the log. It quotes nothing that a person sent."""


class NotVouchedFor(Exception):
    """The provider does not say who somebody is. ``said`` is for them; ``cause`` for the log, without a name."""

    def __init__(self, said: str, cause: str) -> None:
        super().__init__(cause)
        self.said, self.cause = said, cause


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """What a session keeps of a person: enough to judge again, at each request, who they are and what they may do.

    ``domain``: of their verified address, else empty. ``held``: those of the claims on which the settings depended at
    the login that they had; nothing else that the provider says is kept.
    """

    issuer: str
    client: str
    named_by: str
    name: str
    domain: str
    held: tuple[str, ...]


def person_of(claims: Mapping[str, Any], settings: ConsoleSettings) -> Person:
    """The person of whom a provider says this. Raises NotVouchedFor.

    An address counts only where the provider says that it is verified: anyone may claim to be somebody else's.
    """
    address, verified = claims.get("email"), claims.get("email_verified")
    is_verified = verified is True or verified == "true"  # some providers write it as a string
    if settings.console_oidc_name_claim == "email" and not is_verified:
        raise NotVouchedFor(
            "Your login provider does not say that your e-mail address is verified.", "email: not verified"
        )
    name = claims.get(settings.console_oidc_name_claim)
    if not isinstance(name, str) or not 0 < len(name.strip()) <= _MOST_CHARACTERS or not name.isprintable():
        said = "Your login provider does not say who you are in a way that this console can use."
        raise NotVouchedFor(said, f"{settings.console_oidc_name_claim}: missing, or no name")
    domain = address.rpartition("@")[2] if is_verified and isinstance(address, str) else ""
    return Person(
        issuer=settings.console_oidc_issuer or "",
        client=settings.console_oidc_client_id or "",
        named_by=settings.console_oidc_name_claim,
        name=name.strip(),
        domain=domain.lower() if domain.isascii() else "",  # other letters may look, or become, like those of a domain
        held=tuple(sorted(each for each in settings.asked_claims if _has(claims, each))),
    )


def _has(claims: Mapping[str, Any], wanted: str) -> bool:
    """Whether a claim, which may be a list, has the value: ``groups=staff``."""
    claim, _, value = wanted.partition("=")
    found = claims.get(claim)
    return value in found if isinstance(found, list) else isinstance(found, str) and found == value


def role_of(person: Person, settings: ConsoleSettings) -> Role | None:
    """What the person may do by the settings as they are now; None: nothing, they do not come in."""
    told = (settings.console_oidc_issuer, settings.console_oidc_client_id, settings.console_oidc_name_claim)
    if told != (person.issuer, person.client, person.named_by):
        return None  # the word of somebody whom the settings no longer ask, or about something else
    held = frozenset(person.held)
    is_allowed = (
        person.name in settings.allowed_names
        or person.domain in settings.allowed_domains
        or bool(held & settings.allowed_claims)
    )
    if not is_allowed:
        return None
    is_operator = person.name in settings.console_operators or bool(held & frozenset(settings.console_oidc_operators))
    return "operator" if is_operator else "viewer"
