"""The command line: parse, build settings, call one function, print. Exit codes: 0 done, 1 failed, 2 wrong usage."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from referral_stream import __version__

if TYPE_CHECKING:
    from referral_stream.contracts.mapping import Mappings
    from referral_stream.core.policy import Policy
    from referral_stream.stream.apps import Deployment
    from referral_stream.stream.letters import Filters


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="referral-stream")
def main() -> None:
    """Ask customers for referrals at the right moment, beside your event bus.

    \b
    See it work (no services needed):      referral-stream demo
    Try it on a recorded log:              referral-stream replay LOG --output OUT
    Prepare the topics, start the workers: referral-stream topics create && referral-stream run
    """


@main.command()
@click.option("--keep", is_flag=True, help="Stay up afterwards, for playing with it.")
@click.option(
    "--output", type=click.Path(file_okay=False, path_type=Path), default=Path("demo-output"), show_default=True
)
def demo(*, keep: bool, output: Path) -> None:
    """Watch one week of twelve customers: who is asked for a referral, who is not, and why.

    Needs no services: a broker and a Redis of its own are started in memory and ended with it. Takes about half a
    minute.
    """
    import asyncio
    import logging

    from rich.console import Console

    try:
        from referral_stream.local.demo import DemoFailed, play
        from referral_stream.local.errors import EmbeddedServiceError
    except ModuleNotFoundError as missing:
        raise click.ClickException(f"{missing.name} is missing: pip install 'referral-stream[demo]'") from None

    logging.basicConfig(level=logging.ERROR)
    logging.disable(logging.INFO)
    try:
        asyncio.run(play(Console(), output, keep=keep))
    except (DemoFailed, EmbeddedServiceError) as problem:
        raise click.ClickException(str(problem)) from None


_MAPPINGS = click.option(
    "--mappings", "mappings_file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Mapping file."
)


@main.command()
@click.argument("log", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_MAPPINGS
@click.option(
    "--policy", "policy_file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Policy file."
)
@click.option("--until", metavar="T", help="Stop the virtual clock at T (RFC 3339). Default: when nothing is pending.")
@click.option("--output", type=click.Path(file_okay=False, path_type=Path), default=Path("replayed"), show_default=True)
@click.option("--facts", is_flag=True, help="Of a customer-events log take the facts only: a fact replay.")
@click.option(
    "--state",
    "state_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Recorded changelog of the table customers, for a customer-events log without its beginning.",
)
@click.option("--skip-bad", is_flag=True, help="Count unreadable lines into dead-letters.jsonl and go on.")
def replay(
    log: Path,
    policy_file: Path | None,
    mappings_file: Path | None,
    until: str | None,
    output: Path,
    *,
    facts: bool,
    state_file: Path | None,
    skip_bad: bool,
) -> None:
    """Run a recorded LOG through the real adapters and the real decision, under a virtual clock.

    LOG holds one Kafka record per line as JSON: {"topic", "timestamp", "value"}. Writes decisions.jsonl, asks.jsonl and
    dead-letters.jsonl. A log of the topic customer-events replays exactly as it happened; any other is a fact replay.

    \b
    Example:  referral-stream replay last-quarter.jsonl --policy policy.toml --output out
    """
    from rich.console import Console

    from referral_stream.collector import spare_values
    from referral_stream.contracts.inbound import Boundary
    from referral_stream.replay.recorded import replay_file
    from referral_stream.replay.snapshot import read_snapshot
    from referral_stream.replay.summary import reading_progress, show_summary
    from referral_stream.settings import replay_email_key

    if facts and state_file:
        raise click.UsageError("--state is for an exact replay, --facts for the other kind")
    end, policy = _instant(until, "--until"), _policy(policy_file)
    boundary = Boundary(email_key=replay_email_key(), mappings=_mappings(mappings_file))
    spare_values()
    hint = "--state gives the states it builds on, --facts replays from what it holds"
    with _readable_log(hint), reading_progress(Console(stderr=True), log) as progress:
        summary = replay_file(
            log,
            output,
            policy,
            boundary,
            until=end,
            facts_only=facts,
            skip_bad=skip_bad,
            progress=progress,
            snapshot=read_snapshot(state_file) if state_file else None,
        )
    show_summary(summary, policy, output)


@main.command()
@click.argument("customer")
@click.option(
    "--log", type=click.Path(exists=True, dir_okay=False, path_type=Path), required=True, help="The recorded log."
)
@click.option(
    "--policy", "policy_file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Policy file."
)
@_MAPPINGS
@click.option("--at", metavar="T", help="Look from the instant T (RFC 3339). Default: the end of the log.")
@click.option("--skip-bad", is_flag=True, help="Leave unreadable lines out.")
@click.option("--json", "as_data", is_flag=True, help="For machines: one JSON object.")
def explain(
    customer: str,
    log: Path,
    policy_file: Path | None,
    mappings_file: Path | None,
    at: str | None,
    *,
    skip_bad: bool,
    as_data: bool,
) -> None:
    """Tell the story of one CUSTOMER in plain words: what came in, what was decided and why, and what is next.

    Says when they will be asked as things stand, or what would have to happen for it, and by when. Times are the
    customer's own. Exit code 1 if nothing in the log is about the customer.

    \b
    Example:  referral-stream explain cus-deniz --log last-quarter.jsonl --at 2026-09-16T12:00:00+02:00
    """
    import json

    from rich.console import Console

    from referral_stream.contracts.inbound import Boundary
    from referral_stream.replay import telling
    from referral_stream.replay.explain import UnknownCustomer
    from referral_stream.replay.explain import explain as explained
    from referral_stream.replay.summary import reading_progress
    from referral_stream.settings import replay_email_key

    instant, policy = _instant(at, "--at"), _policy(policy_file)
    boundary = Boundary(email_key=replay_email_key(), mappings=_mappings(mappings_file))
    try:
        with _readable_log(), reading_progress(Console(stderr=True), log) as progress:
            story = explained(log, customer, policy, boundary, at=instant, skip_bad=skip_bad, progress=progress)
    except UnknownCustomer as unknown:
        raise click.ClickException(str(unknown)) from None
    if as_data:
        click.echo(json.dumps(telling.as_json(story), ensure_ascii=False, indent=2))
    else:
        click.echo(telling.as_text(story), nl=False)


@main.group()
def schemas() -> None:
    """Write the JSON Schemas of all messages, or check that those on disk are the current ones."""


_SCHEMAS_FOLDER = click.option(
    "--to", "folder", type=click.Path(file_okay=False, path_type=Path), default=Path("schemas"), show_default=True
)


@schemas.command("write")
@_SCHEMAS_FOLDER
def schemas_write(folder: Path) -> None:
    """Write a JSON Schema per message; files of messages that are no more are removed."""
    from referral_stream.contracts.schemas import documents

    wanted = documents()
    present = _schemas_in(folder)
    try:
        for path in sorted(present.keys() - wanted.keys()):
            (folder / path).unlink()
        for path, content in wanted.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
    except OSError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror}") from None
    changed = sum(present.get(path) != content for path, content in wanted.items())
    removed = len(present.keys() - wanted.keys())
    click.echo(f"{len(wanted)} schemas in {folder}: {changed} changed, {removed} removed")


@schemas.command("check")
@_SCHEMAS_FOLDER
def schemas_check(folder: Path) -> None:
    """Compare the files with the messages of this version; exit code 1 if they differ."""
    from referral_stream.contracts.schemas import drift

    findings = drift(_schemas_in(folder))
    for finding in findings:
        click.echo(finding)
    click.echo(f"{len(findings)} differ: referral-stream schemas write --to {folder}" if findings else "all current")
    raise SystemExit(1 if findings else 0)


def _schemas_in(folder: Path) -> dict[str, bytes]:
    """Path below ``folder`` → content, of what lies in the folders of the contract; beside them only what it knows."""
    from referral_stream.contracts.schemas import documents

    wanted = documents()
    found = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*.json"))}
    ours = {path.rpartition("/")[0] for path in wanted} - {""}
    return {
        path: file.read_bytes() for path, file in found.items() if path in wanted or path.rpartition("/")[0] in ours
    }


@main.command()
@click.argument("role", type=click.Choice(["all", "ingest", "decide", "ledger"]), default="all")
def run(role: str) -> None:
    """Run the workers of one ROLE, or of all in one process (default).

    Settings come from the environment, REFERRAL_STREAM_KAFKA_BROKERS, REFERRAL_STREAM_REDIS_URL and
    REFERRAL_STREAM_EMAIL_KEY first of all. Stops in good order on SIGTERM: exit code 0; 1 when it failed; 70 when it
    hung.
    """
    from referral_stream.stream.run import run_roles

    deployment = _deployment()
    raise SystemExit(run_roles(deployment, role))


@main.command("ingest-http")
def ingest_http() -> None:
    """Receive vendors' webhooks and CloudEvents over HTTP, and write them to the input topics.

    A vendor is received from as soon as its secret is set (REFERRAL_STREAM_WEBHOOK_SECRET_STRIPE), CloudEvents with
    REFERRAL_STREAM_HTTP_EVENTS_TOKEN. Listens on 127.0.0.1:8080 unless told otherwise. An answer of 202 means that
    Kafka has it. Stops in good order on SIGTERM: exit code 0; 1 when it could not start.
    """
    try:
        from referral_stream.receiver.serve import serve
    except ModuleNotFoundError as missing:
        raise click.ClickException(f"{missing.name} is missing: pip install 'referral-stream[http]'") from None
    from referral_stream.receiver.endpoints import endpoints
    from referral_stream.settings import SettingsProblem, read_receiver_settings
    from referral_stream.stream.run import configure_logging

    try:
        settings = read_receiver_settings()
        ways_in = endpoints(settings)
        configure_logging(settings.log_level, settings.log_format)
        code = serve(settings, ways_in)
    except SettingsProblem as problem:
        raise Unusable(str(problem)) from None
    raise SystemExit(code)


@main.group()
def topics() -> None:
    """Make the topics as the contract wants them, or check them."""


@topics.command("create")
def topics_create() -> None:
    """Create the topics that are missing; those that exist stay as they are."""
    import asyncio

    from referral_stream.stream.admin import TopicsProblem, create_topics

    try:
        created = asyncio.run(create_topics(_deployment()))
    except TopicsProblem as problem:
        raise click.ClickException(str(problem)) from None
    for name in created:
        click.echo(f"created {name}")
    if not created:
        click.echo("nothing to do: all topics exist (referral-stream topics check looks closer)")


@topics.command("check")
def topics_check() -> None:
    """Check partitions, retention and compaction of every topic; exit code 1 if something is wrong."""
    import asyncio

    from referral_stream.stream.admin import TopicsProblem, check_topics

    try:
        findings = asyncio.run(check_topics(_deployment()))
    except TopicsProblem as problem:
        raise click.ClickException(str(problem)) from None
    for finding in findings:
        click.echo(f"{finding.topic}: {finding.problem or 'ok'}")
        if finding.remedy:
            click.echo(f"    {finding.remedy}")
    raise SystemExit(1 if any(finding.problem for finding in findings) else 0)


@main.command()
def doctor() -> None:
    """Look whether Kafka, topics, Redis and state are as a worker needs them; exit code 1 if something is wrong.

    Each line says ok, or what is wrong and what mends it. Secrets are never shown.
    """
    import asyncio

    from referral_stream.stream.doctor import examine

    async def look() -> bool:
        well = True
        async for line in examine(deployment):
            well = well and not line.problem
            click.echo(
                f"{'WRONG' if line.problem else 'ok   '}  {line.what}{': ' if line.problem else ''}{line.problem}"
            )
            if line.remedy:
                click.echo(f"       {line.remedy}")
        return well

    deployment = _deployment()
    raise SystemExit(0 if asyncio.run(look()) else 1)


@main.group("policy")
def policy_group() -> None:
    """Check a policy file, and see what every number means."""


@policy_group.command("check")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--show", is_flag=True, help="Print every setting, not only those that differ from the default.")
def policy_check(file: Path, *, show: bool) -> None:
    """Check the policy in FILE: all its faults at once (exit code 2), or what it changes.

    \b
    Example:  referral-stream policy check examples/policy.toml --show
    """
    from rich.console import Console

    from referral_stream.contracts.policy_file import PolicyProblem, read_policy
    from referral_stream.policy_page import show_policy

    try:
        policy = read_policy(file)
    except PolicyProblem as problem:
        click.echo(str(problem), err=True)
        raise SystemExit(2) from None
    except OSError as error:
        raise Unusable(f"{file}: {error.strerror}") from None
    show_policy(policy, str(file), Console(), everything=show)


@main.group("mapping")
def mapping_group() -> None:
    """Map payloads of your own to the events of the contract, without code."""


@mapping_group.command("try")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("payload", type=click.File("rb"))
@click.option("--topic", default="product-usage", show_default=True, help="The source topic, without prefix.")
@click.option("--source", metavar="ADAPTER", help="As the header referral-source would name it.")
def mapping_try(file: Path, payload: BinaryIO, topic: str, source: str | None) -> None:
    """Try the mappings in FILE on the JSON in PAYLOAD (- for stdin): what it becomes, or why nothing.

    Exit code 0 if it becomes events, 1 if not, 2 for a file that can not be used.

    \b
    Example:  referral-stream mapping try mappings.toml exported.json
    """
    from referral_stream.clock import Clock
    from referral_stream.contracts.adapted import Accepted
    from referral_stream.contracts.inbound import Boundary
    from referral_stream.contracts.mapping_trial import try_mappings
    from referral_stream.contracts.records import SOURCE_HEADER
    from referral_stream.mapping_page import trial_lines
    from referral_stream.settings import replay_email_key

    boundary = Boundary(email_key=replay_email_key(), mappings=_mappings(file))
    headers = () if source is None else ((SOURCE_HEADER, source.encode()),)
    try:
        trial = try_mappings(payload.read(), boundary, Clock().now(), topic=topic, headers=headers)
    except ValueError as error:
        raise Unusable(f"the payload is not JSON: {error}") from None
    for line in trial_lines(trial):
        click.echo(line)
    raise SystemExit(0 if isinstance(trial.adapted, Accepted) else 1)


@main.group()
def deadletters() -> None:
    """See which records could not be used and why, and try them again."""


def _letter_filters(command: Callable[..., None]) -> Callable[..., None]:
    """The options that say which letters are meant; the command gets them as one ``filters``."""
    options = (
        click.option(
            "--stage", type=click.Choice(["ingest", "decide", "ledger", "projector"]), help="Where it failed."
        ),
        click.option("--cause", help="The word before the colon of the error, such as invalid or fault."),
        click.option("--topic", help="Where the record came from."),
        click.option("--since", metavar="T", help="Failed at the instant T (RFC 3339) or later."),
        click.option("--customer", metavar="KEY", help="The key of the record: on our own topics the customer."),
    )

    @wraps(command)
    def filtered(
        stage: str | None, cause: str | None, topic: str | None, since: str | None, customer: str | None, **rest: object
    ) -> None:
        from referral_stream.stream.letters import Filters

        instant = _instant(since, "--since")
        command(Filters(stage=stage, cause=cause, topic=topic, since=instant, customer=customer), **rest)

    for option in reversed(options):
        filtered = option(filtered)
    return filtered


@deadletters.command("list")
@_letter_filters
@click.option("--all", "everything", is_flag=True, help="Those too that have been replayed.")
@click.option("--payload", is_flag=True, help="Show the records as they came. They may hold personal data.")
@click.option("--limit", type=click.IntRange(min=0), default=50, show_default=True, help="How many, the newest first.")
@click.option("--json", "as_data", is_flag=True, help="For machines: one JSON object.")
def deadletters_list(filters: Filters, *, everything: bool, payload: bool, limit: int, as_data: bool) -> None:
    """Count dead letters by cause, and list them, the newest first.

    \b
    Example:  referral-stream deadletters list --stage ingest --since 2026-09-16T00:00:00Z
    """
    import asyncio
    import json

    from rich.console import Console

    from referral_stream.stream import letters, letters_page
    from referral_stream.stream.admin import TopicsProblem

    deployment = _deployment()

    async def look() -> None:
        box = await letters.read_box(deployment)
        among = box.letters if everything else box.open
        selected = filters.select(among, deployment.settings.topic_prefix)
        shown = selected[:limit]
        records = await letters.originals(deployment, shown) if payload and shown else {}
        if as_data:
            found = letters_page.as_json(box, selected, shown, records)
            click.echo(json.dumps(found, ensure_ascii=False, indent=2))
        else:
            letters_page.show_box(Console(), box, selected, shown, records)

    try:
        with _quiet_clients():
            asyncio.run(look())
    except TopicsProblem as problem:
        raise click.ClickException(str(problem)) from None


@deadletters.command("replay")
@_letter_filters
@click.option("--dry-run", is_flag=True, help="Only say which letters would be tried again.")
def deadletters_replay(filters: Filters, *, dry_run: bool) -> None:
    """Try dead letters again: all that have not been replayed, unless the options say which.

    The adapter reads the original record again, and what it says now is appended to customer-events. Ids stay the same,
    so nothing counts twice. Letters that hold one customer (stage decide, cause fault) are replayed together; then the
    hold ends. Exit code 1 if a letter failed again.

    \b
    Example:  referral-stream deadletters replay --stage ingest --cause unrecognised --dry-run
    """
    import asyncio

    from rich.console import Console

    from referral_stream.stream import letters, letters_page
    from referral_stream.stream.admin import TopicsProblem, require_topics

    deployment = _deployment()

    async def try_again() -> bool:
        box = await letters.read_box(deployment)
        chosen = letters.together(filters.select(box.open, deployment.settings.topic_prefix), box)
        if dry_run:
            letters_page.show_box(Console(), box, chosen, chosen, {})
            return True
        await require_topics(deployment)
        with letters_page.replay_progress(Console(stderr=True), len(chosen)) as progress:
            outcome = await letters.replay(deployment, chosen, progress)
        letters_page.show_outcome(Console(), outcome)
        return not outcome.failed_again

    try:
        with _quiet_clients():
            well = asyncio.run(try_again())
    except TopicsProblem as problem:
        raise click.ClickException(str(problem)) from None
    raise SystemExit(0 if well else 1)


class Unusable(click.ClickException):
    """Input that cannot be used: exit code 2."""

    exit_code = 2


@contextmanager
def _readable_log(without_beginning: str = "") -> Iterator[None]:
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


def _instant(text: str | None, option: str) -> int | None:
    from referral_stream.core.instants import parse_instant

    try:
        return None if text is None else parse_instant(text)[0]
    except (ValueError, OverflowError) as error:
        raise click.BadParameter(str(error), param_hint=option) from None


def _policy(file: Path | None) -> Policy:
    from referral_stream.contracts.policy_file import PolicyProblem, read_policy
    from referral_stream.core.policy import Policy

    if file is None:
        return Policy()
    try:
        return read_policy(file)
    except PolicyProblem as problem:
        raise Unusable(str(problem)) from None
    except OSError as error:
        raise Unusable(f"the policy file {error.filename} can not be read: {error.strerror}") from None


@contextmanager
def _quiet_clients() -> Iterator[None]:
    """What Kafka's client would log for every broker and try, the problem says once."""
    import logging

    chatter = logging.getLogger("aiokafka")
    level = chatter.level
    chatter.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        chatter.setLevel(level)


def _mappings(file: Path | None) -> Mappings:
    from referral_stream.contracts.mapping import NONE
    from referral_stream.contracts.mapping_file import MappingProblem, read_mappings

    try:
        return NONE if file is None else read_mappings(file)
    except MappingProblem as problem:
        raise Unusable(str(problem)) from None
    except OSError as error:
        raise Unusable(f"the mapping file {error.filename} can not be read: {error.strerror}") from None


def _deployment() -> Deployment:
    """Settings, policy and clock of this process; what is wrong with them ends it with exit code 2."""
    from referral_stream.clock import Clock
    from referral_stream.settings import SettingsProblem, read_settings
    from referral_stream.stream.apps import Deployment

    try:
        settings = read_settings()
        clock = Clock()
        if settings.clock_start is not None and settings.clock_started_at is not None:
            clock = Clock(settings.clock_start, settings.clock_started_at, settings.clock_speed)
        deployment = Deployment(settings, _policy(settings.policy_file), clock)
        deployment.check()
    except SettingsProblem as problem:
        raise Unusable(str(problem)) from None
    return deployment
