"""`mapping init` and `mapping try`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from referral_stream.cli.options import Unusable, email_key, mappings_in

if TYPE_CHECKING:
    from referral_stream.contracts.mapping.language import Mappings

_TOPIC = "product-usage"


@click.group("mapping", short_help="Map your own payloads to events, without code.")
def mapping_group() -> None:
    """Map your own payloads to the events of the contract, without code.

    \b
    Begin with a payload of your vendor's:
      referral-stream mapping init sample.json --name acme > mappings.toml
      referral-stream mapping try mappings.toml sample.json
    """


@mapping_group.command("init", short_help="Propose a mapping file for sample payloads.")
@click.argument("payloads", metavar="PAYLOAD...", type=click.File("rb"), nargs=-1, required=True)
@click.option("--name", default="acme", show_default=True, help="What to call the vendor: small letters, digits and _.")
@click.option("--topic", help="The topic for its payloads, without prefix. Default: what they seem to be about.")
def mapping_init(payloads: tuple[BinaryIO, ...], name: str, topic: str | None) -> None:
    """Propose a commented mapping file for the payloads (JSON, one per file or line, or forms; - for stdin).

    It is inferred from names and values alone: review every line marked "check". Unrecognised fields are ignored, and
    listed.
    Exit code 2 for a payload that cannot be read.

    \b
    Example:
      referral-stream mapping init sample.json --name acme > mappings.toml
    """
    from referral_stream.contracts.mapping.proposing import NoProposal, proposal

    try:
        text = proposal([(each.name, each.read()) for each in payloads], name, topic)
    except NoProposal as problem:
        raise Unusable(str(problem)) from None
    click.echo(text, nl=False)


@mapping_group.command("try", short_help="Show what a payload becomes, or why it is ignored.")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("payloads", metavar="PAYLOAD...", type=click.File("rb"), nargs=-1, required=True)
@click.option("--topic", help=f"The topic it came from, without prefix. Default: that of the source, else {_TOPIC}.")
@click.option("--source", metavar="NAME", help="Whose it is, as the header referral-source says: a vendor or a source.")
def mapping_try(file: Path, payloads: tuple[BinaryIO, ...], topic: str | None, source: str | None) -> None:
    """Try the mappings in FILE on the JSON or form in each PAYLOAD (one per file or line; - for stdin): what it
    becomes, or why it is ignored.

    Shows each step: who reads it, which conditions hold, which values are read from where, the events. If FILE is about
    one source of its own, that is where the payload comes from, unless --source or --topic says otherwise.

    Exit code 0 if each becomes events and no dead letter, 1 if not, 2 for a file or a payload that cannot be used.

    \b
    Example:
      referral-stream mapping try mappings.toml exported.json
    """
    from referral_stream.cli.render.mapping import trial_lines
    from referral_stream.contracts.inbound.adapt import Boundary
    from referral_stream.contracts.inbound.trial import try_mappings
    from referral_stream.contracts.mapping.sampling import payloads_in
    from referral_stream.contracts.outcomes import Accepted
    from referral_stream.contracts.topics import SOURCES
    from referral_stream.core.suggestions import did_you_mean
    from referral_stream.runtime.clock import Clock

    mappings = mappings_in(file)
    boundary = Boundary(email_key=email_key(), mappings=mappings)
    if source is None and topic is None:
        source = _only_source(mappings)
    if topic is None:
        known = mappings.sources.get((source or "").strip().lower())
        topic = _TOPIC if known is None else known.topic
    elif topic not in SOURCES:
        raise Unusable(f"no input topic {topic!r}; {did_you_mean(topic, SOURCES)}")
    is_all = True
    named: list[tuple[str, bytes]] = []
    for each in payloads:
        name, found = getattr(each, "name", "<stdin>"), payloads_in(each.read())
        named += [(f"{name}:{nth}" if len(found) > 1 else name, payload) for nth, payload in enumerate(found, 1)]
    for number, (name, payload) in enumerate(named):
        if len(named) > 1:
            click.echo(f"{'' if number == 0 else chr(10)}{name}")
        try:
            trial = try_mappings(payload, boundary, Clock().now(), topic=topic, source=source)
        except ValueError as error:
            hint = '; of a source with body = "form" a form is read too: --source' if source is None else ""
            raise Unusable(f"{name}: the payload is not JSON: {error}{hint}") from None
        for line in trial_lines(trial):
            click.echo(line)
        adapted = trial.adapted
        is_all = is_all and isinstance(adapted, Accepted) and bool(adapted.events) and not adapted.letters
    raise SystemExit(0 if is_all else 1)


def _only_source(mappings: Mappings) -> str | None:
    """The source of the file, if it is about no other one, nor about an adapter."""
    names = {*mappings.sources, *(rule.adapter for rule in mappings.rules)}
    return next(iter(names)) if len(names) == 1 and mappings.sources else None
