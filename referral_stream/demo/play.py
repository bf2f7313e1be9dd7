"""The demo from beginning to end, and its texts before and after the decisions."""

from __future__ import annotations

import shlex
import tempfile
from importlib import resources
from pathlib import Path

from rich.console import Console

from referral_stream.core.instants import MINUTE
from referral_stream.core.policy import Policy
from referral_stream.core.zones import zone
from referral_stream.demo.commands import this_program
from referral_stream.demo.display import DecisionBoard, Screen
from referral_stream.demo.keep import keep_up
from referral_stream.demo.mail import mail
from referral_stream.demo.pages import console_beside
from referral_stream.demo.workers import FETCH_WAIT_SECONDS, Demo, demo_settings, parsed, workers
from referral_stream.demo.world import CAST, HOME, demo_world
from referral_stream.local.broker import EmbeddedBroker
from referral_stream.local.redis_server import EmbeddedRedis
from referral_stream.policy_file.reading import parse_policy
from referral_stream.runtime.clock import Clock
from referral_stream.runtime.deployment import Deployment

INTRODUCTION = """\
One week of twelve customers of an accounting product: who is asked for a
referral, who is not, and why, and what follows their answers. The real workers
run on a broker and a Redis in memory; the clock skips the hours in which
nothing happens.

Times are each customer's own: Carla lives in New York, the others in Berlin.
An opportunity is an occasion to ask, such as a top score; it stays open for a
day or a few. August comes first, as history: Greta was asked then.
"""
_MAIL_COLUMNS, _BESIDE_MAIL = 74, len("  │ ")


async def play(console: Console, output: Path, *, keep: bool = False) -> None:
    """Play the whole demo on ``console``; with ``keep`` keep running afterwards until SIGINT or SIGTERM.

    The log of what happened and what was decided goes to ``output``. Raises DemoFailed, EmbeddedServiceError,
    WorkerFailed. Nothing is left running.
    """
    world = [parsed(line, number) for number, line in enumerate(demo_world(), 1)]
    start = min(record.timestamp for record in world if not record.historical) - MINUTE
    board = DecisionBoard({character.customer_id: character.title for character in CAST}, zone(HOME))
    with EmbeddedBroker() as broker, EmbeddedRedis() as redis, tempfile.TemporaryDirectory() as folder:
        settings = demo_settings(broker, redis, Path(folder))
        deployment = Deployment(settings, demo_policy(), Clock(start, Clock().now()), FETCH_WAIT_SECONDS)
        console.print(INTRODUCTION, highlight=False)
        with Screen(board, console) as screen:
            async with workers(deployment) as demo:
                await demo.play(world, screen, broker.require_room)
                screen.release()
                demo.save(output)
                (output / "policy.toml").write_bytes(policy_text())
                _close(demo, screen, output, keep=keep)
                if keep:
                    async with console_beside(deployment) as console_:
                        await keep_up(demo, screen, broker.bootstrap, redis.url, console_)
                    demo.save(output)
                    screen.say(f"Stopped. Everything is in {output}, for explain and replay.")


def policy_text() -> bytes:
    """The demo's policy file."""
    return (resources.files("referral_stream.demo") / "policy.toml").read_bytes()


def demo_policy() -> Policy:
    """The default policy, with rewards."""
    return parse_policy(policy_text(), "the demo's policy")


def _close(demo: Demo, screen: Screen, output: Path, *, keep: bool) -> None:
    """The end of the week: a summary, what one customer gets to read, and how to look closer."""
    screen.say(f"\n{screen.board.summary()}\n")
    command = next(command for command in demo.commands() if command["customer_id"] == "cus-ana")
    if (text := mail(command, "Ana", min(screen.width - _BESIDE_MAIL, _MAIL_COLUMNS))) is not None:
        screen.say("… and this is the mail Ana gets:")
        screen.say("".join(f"  │ {line}".rstrip() + "\n" for line in text.splitlines()), "cyan")
    for purpose, typed in next_steps(output, keep=keep):
        screen.say(f"{purpose}:", "dim")
        screen.say(f"  {typed}")


def next_steps(output: Path, *, keep: bool) -> list[tuple[str, str]]:
    """What may be done now, and the command for it, on one line whatever its length."""
    program, world = this_program(), shlex.quote(str(output / "world.jsonl"))
    decisions, policy = shlex.quote(str(output / "decisions.jsonl")), shlex.quote(str(output / "policy.toml"))
    steps = [
        ("One customer's story in plain words", f"{program} explain cus-deniz --log {world}"),
        ("What became of Ana's ask", f"{program} record cus-ana --log {world} --policy {policy}"),
        ("Every decision with all fourteen reasons", f"python3 -m json.tool --json-lines {decisions} | less"),
    ]
    return (
        steps
        if keep
        else [*steps, ("The same with pages to look at in a browser, and to experiment with", f"{program} demo --keep")]
    )
