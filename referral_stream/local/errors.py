"""What can go wrong with the embedded services. Every message is a whole sentence for the person at the terminal."""

from __future__ import annotations


class EmbeddedServiceError(Exception):
    """An embedded service cannot do what was asked of it."""


class ServiceMissing(EmbeddedServiceError):
    """The program is not installed; the message says how to get it."""


class ServiceFailed(EmbeddedServiceError):
    """The program did not start, or it died."""


class BrokerFull(EmbeddedServiceError):
    """The broker must take no more input: it would begin to drop its oldest records."""
