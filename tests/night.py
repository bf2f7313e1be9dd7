"""What is left to the night: the same proof under a setting of less interest, where it takes a minute or so."""

import pytest

nightly = pytest.mark.nightly


def by_night(*values: object) -> object:
    """A row of a parametrised test that ``make test-nightly`` runs, not ``make test``."""
    return pytest.param(*values, marks=nightly)
