"""Every moment of a backtest as Parquet and CSV, through DuckDB: sorted on disk, however many there are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import duckdb
import orjson

from referral_stream.backtest.difference import NOT_OPENED, BacktestCompared
from referral_stream.backtest.fates import OpportunityFate
from referral_stream.core.instants import rfc3339
from referral_stream.replay.whole_files import whole_folder

_OF_A_SIDE: Final = {
    "outcome": "VARCHAR", "at": "TIMESTAMP", "mode": "VARCHAR", "channel": "VARCHAR", "template": "VARCHAR",
    "score": "BIGINT", "gates": "VARCHAR", "regret": "BOOLEAN",
}  # fmt: skip
COLUMNS: Final = {
    "opportunity_id": "VARCHAR", "customer_id": "VARCHAR", "account_id": "VARCHAR", "trigger": "VARCHAR",
    "opens": "TIMESTAMP", "deadline": "TIMESTAMP", "time_zone": "VARCHAR", "change": "VARCHAR",
    **{f"{side}_{name}": kind for side in ("a", "b") for name, kind in _OF_A_SIDE.items()},
    "observed": "BOOLEAN", "answer": "VARCHAR", "referrals": "BIGINT", "converted": "BIGINT",
}  # fmt: skip
"""A row is a moment. Instants are in UTC; ``change`` is same, moved, gained, lost or neither; the last four say what
the log knows of A's ask."""

_FORMULA: Final = "=+-@\t\r"
_ORDER: Final = "ORDER BY opens, customer_id, opportunity_id"


class Tables:
    """Takes moments, and writes ``moments.parquet``, ``moments.csv`` and ``changed.csv`` at the end."""

    def __init__(self, rows: Path) -> None:
        self._file = rows.open("wb")

    def add(self, moments: Iterable[BacktestCompared]) -> None:
        self._file.writelines(orjson.dumps(row) + b"\n" for row in map(_row, moments))

    def close(self) -> None:
        """Nothing more is added."""
        self._file.close()

    def write(self, rows: Path, output: Path) -> None:
        """The same rows make the same bytes. Raises OSError and duckdb.Error."""
        self.close()
        with duckdb.connect(config={"threads": 1, "temp_directory": str(rows.parent)}) as connection:
            kinds = ", ".join(f"'{name}': '{kind}'" for name, kind in COLUMNS.items())
            connection.execute(
                f"CREATE TABLE moments AS SELECT * FROM read_json('{_quoted(rows)}', format='newline_delimited', "  # noqa: S608 (our own names)
                f"columns={{{kinds}}}) {_ORDER}"
            )
            safe = ", ".join(_safe(name) if kind == "VARCHAR" else f'"{name}"' for name, kind in COLUMNS.items())
            for target, columns, which, options in (
                ("moments.parquet", "*", "true", "FORMAT parquet, COMPRESSION zstd"),
                ("moments.csv", safe, "true", "FORMAT csv, HEADER"),
                ("changed.csv", safe, "change IN ('gained', 'lost', 'moved')", "FORMAT csv, HEADER"),
            ):
                query = f"SELECT {columns} FROM moments WHERE {which} {_ORDER}"  # noqa: S608 (our own names)
                connection.execute(f"COPY ({query}) TO '{_quoted(output / target)}' ({options})")


@contextmanager
def tables(output: Path) -> Iterator[Tables]:
    """What takes the moments for the tables in ``output`` (created if missing), which are written at the end."""
    with whole_folder(output) as target, TemporaryDirectory(prefix="backtest-tables-") as folder:
        rows = Path(folder, "moments.jsonl")
        with closing(Tables(rows)) as found:
            yield found
            found.write(rows, target)


def _row(compared: BacktestCompared) -> dict[str, Any]:
    head, a = compared.head, compared.a
    later = None if a is None or not a.is_asked else a.later
    known = later is not None and later.is_known
    return {
        "opportunity_id": head.opportunity_id,
        "customer_id": head.customer_id,
        "account_id": head.account_id,
        "trigger": head.trigger,
        "opens": _instant(head.opens),
        "deadline": _instant(head.deadline),
        "time_zone": head.zone,
        "change": compared.kind,
        **_side("a", a),
        **_side("b", compared.b),
        "observed": known,
        "answer": later.answer if later is not None else None,
        "referrals": later.referrals if later is not None and known else None,
        "converted": later.converted if later is not None and known else None,
    }


def _side(side: str, fate: OpportunityFate | None) -> dict[str, Any]:
    if fate is None:
        return {f"{side}_outcome": NOT_OPENED}
    return {
        f"{side}_outcome": fate.outcome,
        f"{side}_at": _instant(fate.at),
        f"{side}_mode": fate.mode,
        f"{side}_channel": fate.channel,
        f"{side}_template": fate.template,
        f"{side}_score": fate.score,
        f"{side}_gates": " ".join(gate for gate, *_ in fate.blocking) or None,
        f"{side}_regret": fate.regret if fate.is_asked else None,
    }


def _instant(at: int) -> str:
    return rfc3339(at).removesuffix("Z").replace("T", " ")


def _safe(name: str) -> str:
    """A text that a spreadsheet would take for a formula begins with an apostrophe."""
    begins = ", ".join(f"chr({ord(each)})" for each in _FORMULA)
    return f"""CASE WHEN left("{name}", 1) IN ({begins}) THEN chr(39) || "{name}" ELSE "{name}" END AS "{name}\""""


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")
