"""What a worker reports about itself over HTTP: ``/live``, ``/ready`` and ``/metrics``. It only reads."""

from referral_stream.stream.status.server import StatusPage

__all__ = ["StatusPage"]
