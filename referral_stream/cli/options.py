"""What several verbs read: logs, policies, mappings, instants, and the settings of this process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from referral_stream.contracts.mapping.language import Mappings
    from referral_stream.core.policy import Policy
    from referral_stream.runtime.deployment import Deployment

MAPPINGS = click.option(
    "--mappings", "mappings_file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Mapping file."
)


class Unusable(click.ClickException):
    """Input that cannot be used: exit code 2."""

    exit_code = 2


@contextmanager
def readable_log(without_beginning: str = "") -> Iterator[None]:
    """Ends the process with exit code 2 on a log that cannot be replayed, 1 where a file fails.

    ``without_beginning`` is the remedy for a log that starts late.
    """
    from referral_stream.contracts.errors import UnreadableLog
    from referral_stream.replay.reading import BadLine, LogStartsLate

    try:
        yield
    except BadLine as error:
        raise Unusable(f"{error}  (--skip-bad counts such lines and goes on)") from None
    except LogStartsLate as error:
        raise Unusable(f"{error}  ({without_beginning})" if without_beginning else str(error)) from None
    except UnreadableLog as error:
        raise Unusable(str(error)) from None
    except OSError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror}") from None


def instant_of(text: str | None, option: str) -> int | None:
    from referral_stream.core.instants import parse_instant

    try:
        return None if text is None else parse_instant(text)[0]
    except (ValueError, OverflowError) as error:
        raise click.BadParameter(str(error), param_hint=option) from None


def policy_in(file: Path | None) -> Policy:
    from referral_stream.core.policy import Policy
    from referral_stream.policy_file.reading import PolicyProblem, read_policy

    if file is None:
        return Policy()
    try:
        return read_policy(file)
    except PolicyProblem as problem:
        raise Unusable(str(problem)) from None
    except OSError as error:
        raise Unusable(f"the policy file {error.filename} can not be read: {error.strerror}") from None


@contextmanager
def quiet_clients() -> Iterator[None]:
    """What Kafka's client would log for every broker and try, the problem says once."""
    import logging

    chatter = logging.getLogger("aiokafka")
    level = chatter.level
    chatter.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        chatter.setLevel(level)


def mappings_in(file: Path | None) -> Mappings:
    from referral_stream.contracts.mapping.language import NONE
    from referral_stream.contracts.mapping.parsing import MappingProblem, read_mappings

    try:
        return NONE if file is None else read_mappings(file)
    except MappingProblem as problem:
        raise Unusable(str(problem)) from None
    except OSError as error:
        raise Unusable(f"the mapping file {error.filename} can not be read: {error.strerror}") from None


def this_deployment() -> Deployment:
    """Settings, policy and clock of this process; what is wrong with them ends it with exit code 2."""
    from referral_stream.runtime.clock import Clock
    from referral_stream.runtime.deployment import Deployment
    from referral_stream.runtime.settings import SettingsProblem, read_settings

    try:
        settings = read_settings()
        clock = Clock()
        if settings.clock_start is not None and settings.clock_started_at is not None:
            clock = Clock(settings.clock_start, settings.clock_started_at, settings.clock_speed)
        deployment = Deployment(settings, policy_in(settings.policy_file), clock)
        deployment.check()
    except SettingsProblem as problem:
        raise Unusable(str(problem)) from None
    return deployment
