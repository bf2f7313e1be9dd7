"""Ask the process of this container whether it is alive: exit code 0 for yes.

A worker answers on the status port, and so does the rewards role; the webhook receiver (`ingest-http`) on its own port,
over TLS where it speaks TLS.
Any other command, and a worker without a status page (port 0), has nothing to ask: healthy while it runs.
"""

import os
import ssl
import sys
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

PATIENCE_SECONDS = 5
ITS_OWN_CERTIFICATE = ssl._create_unverified_context()  # noqa: S323, SLF001  (asked on loopback: it names another host)


def page(command: Sequence[str], env: Mapping[str, str]) -> str | None:
    """Where the process that was started with these words answers; None: nowhere."""
    if "ingest-http" in command:
        scheme = "https" if env.get("REFERRAL_STREAM_HTTP_CERT_FILE") else "http"
        return f"{scheme}://127.0.0.1:{env.get('REFERRAL_STREAM_HTTP_PORT', '8080')}/live"
    port = env.get("REFERRAL_STREAM_STATUS_PORT", "6066")
    return f"http://127.0.0.1:{port}/live" if {"run", "rewards"} & {*command} and port != "0" else None


def main() -> int:
    command = Path("/proc/1/cmdline").read_text().split("\0")
    asked = page(command, os.environ)
    if asked is None:
        return 0
    try:
        with urllib.request.urlopen(asked, timeout=PATIENCE_SECONDS, context=ITS_OWN_CERTIFICATE):  # noqa: S310
            return 0
    except OSError as error:  # among them: an answer of 503
        print(f"{asked}: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    raise SystemExit(main())
