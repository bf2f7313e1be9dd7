"""`python -m tests.chaos [--seconds 1200] [--seed N]`: one soak, its table on the terminal and in `build/soak`."""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from rich.console import Console

from tests.chaos import soak, table
from tests.chaos.plan import PER_TWENTY_MINUTES, Fault

_BETWEEN_LINES_SECONDS: Final = 30.0


def main() -> int:
    """Exit codes: 0 nothing is wrong, 1 something is."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description="the pipeline under load and faults")
    parser.add_argument("--seconds", type=float, default=1_200, help="how long faults go on (default: %(default)g)")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 20), help="of faults and load")
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--rate", type=float, default=10, help="new stories per second (default: %(default)g)")
    parser.add_argument("--faults", nargs="+", choices=[each.name for each in Fault], help="only these; default: all")
    parser.add_argument("--output", type=Path, default=Path("build/soak"))
    asked = parser.parse_args()
    chosen = [Fault[name] for name in asked.faults or [each.name for each in Fault]]
    console, errors = Console(), Console(stderr=True)
    with tempfile.TemporaryDirectory(prefix="soak-") as scratch, errors.status("") as status:
        told_at = 0.0

        def tell(progress: soak.Progress) -> None:
            nonlocal told_at
            line = (
                f"seed {asked.seed}  {progress.phase} {progress.seconds:.0f} s  {progress.events:,} events "
                f"{progress.asks:,} asks  fault {progress.faults} of {progress.of}  {progress.under_way}"
            )
            if errors.is_terminal:
                status.update(line)
            elif time.monotonic() >= told_at + _BETWEEN_LINES_SECONDS:
                told_at = time.monotonic()
                errors.print(line)

        soaked = soak.run(
            Path(scratch),
            asked.seed,
            asked.seconds,
            numbers={fault: PER_TWENTY_MINUTES[fault] for fault in chosen},
            workers=asked.workers,
            per_second=asked.rate,
            tell=tell,
            evidence=asked.output / "broker",
        )
        table.write(soaked, asked.output)
        is_sound = not any(soaked.problems.values())
        if not is_sound:
            table.write_records(soaked, asked.output)
            for log in Path(scratch).glob("worker-*.log"):
                shutil.copy(log, asked.output)
    console.print(*table.for_terminal(soaked))
    console.print(f"written to {asked.output}; again with --seed {asked.seed}")
    return 0 if is_sound else 1


if __name__ == "__main__":
    sys.exit(main())
