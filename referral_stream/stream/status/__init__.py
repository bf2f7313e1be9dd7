"""What a worker reports about itself over HTTP: `/live`, `/ready` and `/metrics`. It reads, and changes nothing."""

from referral_stream.stream.status.server import StatusPage

__all__ = ["StatusPage"]
