"""Keys of ``customer-events``: the entity to whose state a record goes (identity §4).

A customer's key is the customer id, one that begins with ``~`` written ``~~…``; a link's key is ``~KIND:VALUE``. The
key says whose record it is: what an entity passes on keeps the subject it came with.
"""

from __future__ import annotations

from referral_stream.core.events import Event, Link

_MARK = "~"


def customer_key(customer: str) -> str:
    """The key under which a customer's records lie."""
    return _MARK + customer if customer.startswith(_MARK) else customer


def link_key(link: Link) -> str:
    """The key under which a link's records lie."""
    return f"{_MARK}{link}"


def parse_key(key: bytes) -> str | Link:
    """The customer id, or the link, that a key stands for. Total: what nobody of us writes is taken as it is."""
    text = key.decode("utf-8", "replace")
    if not text.startswith(_MARK):
        return text
    if text.startswith(_MARK * 2):
        return text[1:]
    try:
        return Link.parse(text[1:])
    except ValueError:
        return text


def is_link_key(key: str) -> bool:
    """Whether it is the key of a link."""
    return type(parse_key(key.encode())) is Link


def through_link(event: Event) -> bool:
    """Whether a link has passed it on: such an event is given to no other link."""
    return any(map(is_link_key, event.via))
