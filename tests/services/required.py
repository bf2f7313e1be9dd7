"""Whether this run may skip what it has no services for."""

from __future__ import annotations

import os

# Continuous integration sets it to 1: there, a test that did not run is a failure.
REQUIRE_SERVICES = "TESTS_REQUIRE_SERVICES"


def services_are_required() -> bool:
    return os.environ.get(REQUIRE_SERVICES) == "1"
