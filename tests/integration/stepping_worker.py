"""`referral-stream` that ends itself with SIGKILL right after one step of the order of effects.

    python -m tests.integration.stepping_worker STEP run decide

The steps are methods of the transport, wrapped by name; the first batch that takes the step is the last.
"""

from __future__ import annotations

import functools
import inspect
import os
import signal
import sys
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from aiokafka import AIOKafkaProducer
from faust_batches.consumer import BatchConsumer
from faust_batches.consumer_thread import BatchConsumerThread
from faust_batches.publish import Publisher
from faust_batches.stateful import Stateful
from faust_batches.table import BatchTable

from referral_stream.cli import main

Condition: TypeAlias = Callable[..., object]
"""Of the arguments of a method, the object first, and of its result under `result`: whether this call is the step."""

_acked: list[object] = []
_appended: list[object] = []


def _has_effects(*_: Any, result: Any) -> object:
    return any(result)


def _is(topic: str) -> Condition:
    """The records sent, or awaited, are for a topic of that ending."""
    return lambda _owner, *_, result: any(sent.tp.topic.endswith(topic) for sent in result)


def _of(topic: str) -> Condition:
    return lambda _owner, sent, *_, result: any(each.tp.topic.endswith(topic) for each in sent)  # noqa: ARG005


def _named(table: str) -> Condition:
    return lambda owner, *_, result: owner.name == table  # noqa: ARG005


def _always(*_: Any, result: Any) -> bool:  # noqa: ARG001
    return True


def _batch_was_acked(*_: Any, result: Any) -> object:  # noqa: ARG001
    return _acked


_COMPUTED: Mapping[str, tuple[type, str, Condition]] = {"computed": (Stateful, "_compute", _has_effects)}
_SENT: Mapping[str, tuple[type, str, Condition]] = {
    "outputs sent": (Publisher, "send", _is("referral-decisions")),
    "wake-ups sent": (Publisher, "send_changes", _is("wakeups-changelog")),
    "states sent": (Publisher, "send_changes", _is("customers-changelog")),
}
_DURABLE: Mapping[str, tuple[type, str, Condition]] = {
    "wake-ups stored": (BatchTable, "write", _named("wakeups")),
    "states stored": (BatchTable, "write", _named("customers")),
    "changes announced": (Stateful, "_announce", _always),
    "acked": (BatchConsumer, "ack", _always),
    "offset committed": (BatchConsumerThread, "_commit", _batch_was_acked),
}

STEPS: Mapping[str, Mapping[str, tuple[type, str, Condition]]] = {
    "transactions": {
        **_COMPUTED,
        "begun": (AIOKafkaProducer, "begin_transaction", _always),
        **_SENT,
        "acknowledged": (Publisher, "acknowledged", _of("customers-changelog")),
        "committed": (AIOKafkaProducer, "commit_transaction", _always),
        **_DURABLE,
    },
    "none": {
        **_COMPUTED,
        **_SENT,
        "outputs acknowledged": (Publisher, "acknowledged", _of("referral-decisions")),
        "wake-ups acknowledged": (Publisher, "acknowledged", _of("wakeups-changelog")),
        "states acknowledged": (Publisher, "acknowledged", _of("customers-changelog")),
        **_DURABLE,
    },
}
"""By the setting `FENCING`: after which call the process ends."""


def _having_appended(condition: Condition) -> Condition:
    """The same step, of a batch that has sent records to other ids on the topic it reads."""
    return lambda *arguments, result: _appended and condition(*arguments, result=result)


MERGING: Mapping[str, Mapping[str, tuple[type, str, Condition]]] = {
    fencing: {
        "appended": (Publisher, "send", _is("customer-events")),
        **{
            f"appended, {name}": (owner, method, _having_appended(condition))
            for name, (owner, method, condition) in steps.items()
            if name not in ("computed", "begun", "outputs sent", "outputs acknowledged")
        },
    }
    for fencing, steps in STEPS.items()
}
"""The steps of a batch in which customers append to each other."""


def _end_after(owner: type, name: str, condition: Condition) -> None:
    method = getattr(owner, name)

    def look(arguments: tuple[Any, ...], result: Any) -> Any:
        if condition(*arguments, result=result):
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    if inspect.iscoroutinefunction(method):

        @functools.wraps(method)
        async def awaited(*arguments: Any, **named: Any) -> Any:
            return look(arguments, await method(*arguments, **named))

        setattr(owner, name, awaited)
    else:

        @functools.wraps(method)
        def called(*arguments: Any, **named: Any) -> Any:
            return look(arguments, method(*arguments, **named))

        setattr(owner, name, called)


def _note_acks() -> None:
    ack = BatchConsumer.ack

    def noting(self: BatchConsumer, message: Any) -> bool:
        _acked.append(message.offset)
        return ack(self, message)

    BatchConsumer.ack = noting  # type: ignore[method-assign]  # that is what this program is for


def _note_appended() -> None:
    send = Publisher.send

    async def noting(self: Publisher, *arguments: Any, **named: Any) -> Any:
        sent = await send(self, *arguments, **named)
        _appended.extend(each for each in sent if each.tp.topic.endswith("customer-events"))
        return sent

    Publisher.send = noting  # type: ignore[method-assign]  # that is what this program is for


if __name__ == "__main__":
    step = sys.argv.pop(1)
    _note_acks()
    _note_appended()
    _end_after(*{**STEPS["transactions"], **STEPS["none"], **MERGING["transactions"], **MERGING["none"]}[step])
    main()
