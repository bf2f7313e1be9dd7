"""What several verbs share: options, and reading logs, policies, mappings, instants and this process's settings."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from referral_stream.cli.render.progress import Advance
    from referral_stream.contracts.inbound.adapt import Boundary
    from referral_stream.contracts.mapping.language import Mappings
    from referral_stream.core.policy import Policy
    from referral_stream.runtime.deployment import Deployment

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)

LOG = click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path)
"""A recorded log, plain or gzip; ``-`` is stdin."""

MAPPINGS = click.option("--mappings", "mappings_file", type=_FILE, help="Mapping file (docs/mapping.md).")
POLICY = click.option("--policy", "policy_file", type=_FILE, help="Policy file. Default: the default policy.")
SKIP_BAD = click.option("--skip-bad", is_flag=True, help="Leave unreadable lines out instead of stopping at one.")
SORT = click.option("--sort", is_flag=True, help="Sort the log by time first, for lines that are out of order.")


def missing_package(missing: ModuleNotFoundError, extra: str) -> click.ClickException:
    """Says how to install this distribution's ``extra`` into the running environment."""
    import shlex
    import sys
    from importlib import metadata

    marker = f'extra == "{extra}"'
    required = [line.partition(";") for line in metadata.requires("referral-stream") or []]
    wanted = [name.strip() for name, _, condition in required if marker in condition.replace("'", '"')]
    return click.ClickException(f"{missing.name} is missing: {sys.executable} -m pip install {shlex.join(wanted)}")


def visible_lines(text: str) -> str:
    """See ``visible``; of a text of several lines, which stay lines."""
    from referral_stream.words.escaping import visible

    return "\n".join(map(visible, text.split("\n")))


class Unusable(click.ClickException):
    """Input that cannot be used: exit code 2."""

    exit_code = 2

    def format_message(self) -> str:
        """Its lines, with what a terminal would obey as escapes: names of files may hold anything."""
        return visible_lines(self.message)


@contextmanager
def private_files() -> Iterator[None]:
    """What is written meanwhile is for this user alone: it says what customers did, and may hold addresses."""
    import os

    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


@contextmanager
def reading_log(log: Path, without_beginning: str = "") -> Iterator[Advance]:
    """Shows how much of ``log`` has been read. A log that cannot be replayed ends the process with exit code 2.

    ``without_beginning`` is the remedy for a log that starts late. A file that fails ends it with exit code 1, and
    so does a recorded log that holds something else than the replay makes.
    """
    from referral_stream.cli.render.progress import progress
    from referral_stream.contracts.errors import UnreadableLog
    from referral_stream.replay.reading import BadLine, LogStartsLate
    from referral_stream.replay.recorded_run import Diverged

    try:
        size = log.stat().st_size if log.is_file() else None
        with progress("stdin" if str(log) == "-" else log.name, size, in_bytes=True) as advance:
            yield advance
    except BadLine as error:
        raise Unusable(f"{error}  (--skip-bad counts such lines and continues)") from None
    except LogStartsLate as error:
        raise Unusable(f"{error}  ({without_beginning})" if without_beginning else str(error)) from None
    except UnreadableLog as error:
        raise Unusable(str(error)) from None
    except Diverged as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        if error.filename is None and error.errno in (errno.EPIPE, errno.ENOSPC):
            raise  # nothing is wrong with the log
        raise click.ClickException(f"{error.filename or log}: {error.strerror or error}") from None


_OTHER_ARCHIVES = frozenset({".zst", ".zstd", ".bz2", ".xz", ".lz4", ".zip", ".tgz"})


def check_log_name(output: Path) -> None:
    """Ends the process with exit code 2 where a log that is written there could not be read again."""
    if output.suffix.lower() in _OTHER_ARCHIVES:
        raise Unusable(f"{output}: replay reads plain files and gzip: end the name in .jsonl or .jsonl.gz")
    if output.exists() and not output.is_file():
        raise Unusable(f"{output} is not a regular file")


def check_outputs(inputs: Iterable[Path | None], files: Iterable[Path | None], folder: Path | None = None) -> None:
    """Ends the process with exit code 2, before anything takes long, where a file cannot be written, or would take the
    place of what is read. ``folder``: where there may be some, made if it is missing.
    """
    read = [each.resolve() for each in inputs if each is not None]
    written = [file for file in files if file is not None and (file.is_file() or not file.exists())]
    for file in written:
        if sum(each.resolve() == file.resolve() for each in written) > 1:
            raise Unusable(f"{file} is to be written twice, with different things")
        if file.resolve() in read:
            raise Unusable(f"{file} is an input file; choose another output path")
        if file.parent != folder and not file.resolve().parent.is_dir():
            raise Unusable(f"{file}: the folder {file.parent} does not exist")
    try:
        if folder is not None:
            with private_files():
                folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Unusable(f"{folder}: {error.strerror}") from None
    for target in {*(file.parent for file in written), *filter(None, [folder])}:
        if not os.access(target, os.W_OK | os.X_OK):
            raise Unusable(f"the folder {target} is not writable")


_FIRST_YEAR = 1970
"""Of instants."""


def instant_of(text: str | None, option: str, *, end_of_day: bool = False) -> int | None:
    """The instant an option gives, epoch ms. A date alone is its first millisecond in UTC, or its last."""
    from datetime import date

    from referral_stream.core.instants import DAY, LAST_ARRIVAL, parse_instant, rfc3339

    if text is None:
        return None
    found: int | None = None
    if text[:4].isdecimal() and text[4:5] == "-" and int(text[:4]) < _FIRST_YEAR:
        raise click.BadParameter(f"{text!r} is too early: before {_FIRST_YEAR}", param_hint=option)
    with suppress(ValueError, OverflowError):
        if len(text) == len("2026-06-30"):
            start, _ = parse_instant(f"{date.fromisoformat(text)}T00:00:00Z")
            found = start + DAY - 1 if end_of_day else start
        else:
            found = parse_instant(text)[0]
    if found is not None and found > LAST_ARRIVAL:
        raise click.BadParameter(f"{text!r} lies after {rfc3339(LAST_ARRIVAL)[:10]}, the last day", param_hint=option)
    if found is not None:
        return found
    problem = f"{text!r} is not a date or time; write 2026-06-30 (in UTC) or 2026-06-30T18:00:00+02:00"
    raise click.BadParameter(problem, param_hint=option)


def policy_in(file: Path | None) -> Policy:
    from referral_stream.contracts.toml_file import read_toml
    from referral_stream.core.policy import Policy
    from referral_stream.policy_file.reading import PolicyProblem, parse_policy

    if file is None:
        return Policy()
    try:
        return parse_policy(read_toml(file), str(file))
    except PolicyProblem as problem:
        raise Unusable(str(problem)) from None
    except OSError as error:
        raise Unusable(f"the policy file {error.filename} cannot be read: {error.strerror}") from None


def mappings_in(file: Path | None) -> Mappings:
    from referral_stream.contracts.mapping.language import NONE
    from referral_stream.contracts.mapping.parsing import MappingProblem, parse_mappings
    from referral_stream.contracts.toml_file import read_toml

    try:
        return NONE if file is None else parse_mappings(read_toml(file), str(file))
    except MappingProblem as problem:
        raise Unusable(str(problem)) from None
    except OSError as error:
        raise Unusable(f"the mapping file {error.filename} cannot be read: {error.strerror}") from None


def boundary_of(policy: Policy, mappings_file: Path | None) -> Boundary:
    """How a replay reads the topics of a log; unusable settings end the process with exit code 2."""
    import os

    from referral_stream.contracts.inbound.adapt import Boundary
    from referral_stream.runtime.settings import PREFIX

    prefix = os.environ.get(f"{PREFIX}TOPIC_PREFIX", "")
    mappings = mappings_in(mappings_file)
    return Boundary(email_key=email_key(), prefix=prefix, mappings=mappings, identity=policy.identity)


def email_key() -> bytes:
    """The key under which a replay hashes addresses; an unusable one ends the process with exit code 2."""
    from referral_stream.runtime.settings import SettingsProblem, replay_email_key

    try:
        return replay_email_key()
    except SettingsProblem as problem:
        raise Unusable(str(problem)) from None


def this_deployment(*, email_key_needed: bool = True) -> Deployment:
    """Settings, policy and clock of this process; errors in them end it with exit code 2.

    ``email_key_needed``: whether it reads source topics, where addresses are hashed.
    """
    from referral_stream.runtime.clock import Clock
    from referral_stream.runtime.deployment import Deployment
    from referral_stream.runtime.settings import SettingsProblem, read_settings

    try:
        settings = read_settings(email_key_needed=email_key_needed)
        clock = Clock()
        if settings.clock_start is not None and settings.clock_started_at is not None:
            clock = Clock(settings.clock_start, settings.clock_started_at, settings.clock_speed)
        deployment = Deployment(settings, policy_in(settings.policy_file), clock)
        deployment.check()
    except SettingsProblem as problem:
        raise Unusable(str(problem)) from None
    return deployment
