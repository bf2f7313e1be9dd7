"""The word count of the README runs as it stands there (with another broker, which has no transactions)."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TypeAlias

from confluent_kafka import Consumer, Producer

README = Path(__file__).parents[1] / "README.md"
LINES = ("to be or not to be", "that is the question", "To be")


Counts: TypeAlias = dict[bytes | None, bytes | None]


def last_counts(broker: str, topic: str, expected: Counts) -> Counts:
    """The last value of each key, once it is what is expected, or after a minute."""
    reader = Consumer(
        {"bootstrap.servers": broker, "group.id": "reader", "auto.offset.reset": "earliest", "log_level": 2}
    )
    reader.subscribe([topic])
    found: Counts = {}
    deadline = time.monotonic() + 60
    while found != expected and time.monotonic() < deadline:
        message = reader.poll(0.5)
        if message is not None and message.error() is None:
            found[message.key()] = message.value()
    reader.close()
    return found


def test_the_word_count_counts_words(broker: str, tmp_path: Path) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
    assert program.count('"localhost:9092",)') == 1
    program = program.replace('"localhost:9092",)', f'"{broker}",), fencing="none"')
    script = tmp_path / "word_count.py"
    script.write_text(program)
    producer = Producer({"bootstrap.servers": broker, "log_level": 2})
    for line in LINES:
        producer.produce("lines", line.encode())
    assert producer.flush(20) == 0
    expected: Counts = {
        word.encode(): b"%d" % count for word, count in Counter(" ".join(LINES).lower().split()).items()
    }
    worker = subprocess.Popen([sys.executable, str(script)], stderr=subprocess.PIPE, text=True)
    try:
        assert last_counts(broker, "word-counts", expected) == expected
        worker.send_signal(signal.SIGTERM)
        _, said = worker.communicate(timeout=30)
        assert worker.returncode == 0, said
    finally:
        worker.kill()
        worker.wait()
