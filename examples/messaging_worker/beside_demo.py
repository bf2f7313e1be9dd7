"""The worker next to `referral-stream demo --keep`: `KAFKA_BROKERS=127.0.0.1:PORT python beside_demo.py`.

By today's clock, every command of the demo has expired. Here the time is that of the last command read, and
goes on from there. Commands are read one by one, and written to the console; nothing is remembered afterwards.
"""

import asyncio
import json
import os
from collections.abc import Mapping
from datetime import datetime
from time import time
from typing import Any

from senders import Person
from worker import Worker, run

CAST = ("ana", "ben", "carla", "deniz", "emma", "finn", "greta", "henk", "ida", "jonas", "kim", "lena")


class DemoWorker(Worker):
    gathers = 0.0  # what is read is delivered before the clock goes on

    def __init__(self, env: Mapping[str, str]) -> None:
        self.ahead = 0.0
        ours = {"PRODUCT": "Ledgerly", "SENDER_NAME": "Your team at Ledgerly", **env, "MEMORY_FILE": ":memory:"}
        super().__init__(ours, lambda: time() + self.ahead)
        known: dict[str, Person] = {
            f"cus-{name}": {"name": name.title(), "email": f"{name}@customers.example"} for name in CAST
        }
        self.people = self.people or known

    def remember(self, record: Any) -> None:
        self.ahead = datetime.fromisoformat(json.loads(record.value)["time"]).timestamp() - time()
        super().remember(record)


if __name__ == "__main__":
    # One by one: a week's commands read in one go would all have the time of the last.
    asyncio.run(run(DemoWorker(os.environ), os.environ, max_poll_records=1))
