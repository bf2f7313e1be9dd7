"""What a worker tells about itself over HTTP: `/live`, `/ready` and `/metrics`. It reads, and changes nothing."""

from referral_stream.stream.status.server import Status

__all__ = ["Status"]
