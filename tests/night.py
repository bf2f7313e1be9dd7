"""What is left to the night: the same proof under a setting of less interest, and examples nobody has seen before.

``make test`` says what a change has done, so it tries the same examples every time. ``make test-nightly`` looks for
what is wrong already: it draws them anew.
"""

import os
import random

import pytest
from hypothesis import settings

nightly = pytest.mark.nightly

ANEW = os.environ.get("TESTS_ANEW") == "1"


def by_night(*values: object) -> object:
    """A row of a parametrised test that ``make test-nightly`` runs, not ``make test``."""
    return pytest.param(*values, marks=nightly)


def seed(variable: str, by_day: int) -> int:
    """A seed: of the variable of the environment where it is set, by night a new one, else that of the day."""
    told = int(os.environ.get(variable, "0"))
    return told or (random.SystemRandom().randrange(1, 1 << 20) if ANEW else by_day)


def examples() -> None:
    """Has Hypothesis draw as is said above."""
    settings.register_profile("day", derandomize=True)
    settings.register_profile("night", derandomize=False, print_blob=True)
    settings.load_profile("night" if ANEW else "day")
