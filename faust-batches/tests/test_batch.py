from __future__ import annotations

from aiokafka.producer.message_accumulator import BatchBuilder
from faust_batches import record_bytes
from hypothesis import given
from hypothesis import strategies as st

HEADERS = st.lists(st.tuples(st.text(max_size=20), st.binary(max_size=50)), max_size=5).map(tuple)


@given(st.none() | st.binary(max_size=300), st.none() | st.binary(max_size=3000), HEADERS)
def test_a_record_is_never_larger_on_the_wire_than_said(
    key: bytes | None, value: bytes | None, headers: tuple[tuple[str, bytes], ...]
) -> None:
    builder = BatchBuilder(1, 0)
    builder.append(timestamp=None, key=key, value=value, headers=list(headers))
    size = len(builder._build())
    assert size <= record_bytes(key, value, headers) <= size + 50 + 10 * len(headers)
