"""What all replicas of the console share in Redis: sessions, previews, counts of attempts. All of it lapses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Final, cast

from litestar.stores.base import Store
from litestar.stores.redis import RedisStore
from redis.asyncio import Redis
from redis.exceptions import RedisError

from referral_stream.read_models import NotReadable

NOTES_KEPT: Final = 1_000
POLICIES_KEPT: Final = 200


class SharedStore(Store):
    """Keys under ``PREFIX:console:``. Raises NotReadable where Redis does not answer; ``client`` must not decode."""

    def __init__(self, client: Redis, prefix: str) -> None:
        self._client, self._notes = client, f"{prefix}:console:notes"
        self._policies = f"{prefix}:console:policies"
        self._kept: Final = RedisStore(client, namespace=f"{prefix}:console")

    async def note(self, entry: bytes) -> None:
        """Keep an entry of the list of what was done; the newest NOTES_KEPT stay."""
        with _in_our_words():
            pipe = self._client.pipeline(transaction=True)
            pipe.lpush(self._notes, entry)
            pipe.ltrim(self._notes, 0, NOTES_KEPT - 1)
            await pipe.execute()

    async def notes(self) -> list[bytes]:
        """All entries, the newest first."""
        with _in_our_words():
            return cast("list[bytes]", await self._client.lrange(self._notes, 0, -1))

    async def keep_policy(self, hash_: str, entry: bytes) -> None:
        """Keep what a policy says, unless it is known by this hash; POLICIES_KEPT stay, the present one among them."""
        with _in_our_words():
            if not await self._client.hsetnx(self._policies, hash_, entry):
                return
            known = cast("list[bytes]", await self._client.hkeys(self._policies))
            if len(known) > POLICIES_KEPT:  # none leads a list so long; which of them goes is of no matter
                others = sorted(key for key in known if key != hash_.encode())
                await self._client.hdel(self._policies, *others[: len(known) - POLICIES_KEPT])

    async def policies(self) -> list[bytes]:
        """What was kept of policies, in no order."""
        with _in_our_words():
            return cast("list[bytes]", await self._client.hvals(self._policies))

    async def take(self, key: str) -> bytes | None:
        """What is kept, once: two who ask at the same time do not both get it."""
        with _in_our_words():
            pipe = self._client.pipeline(transaction=True)
            pipe.get(f"{self._kept.namespace}:{key}")
            pipe.delete(f"{self._kept.namespace}:{key}")
            found, _ = await pipe.execute()
            return cast("bytes | None", found)

    async def set_once(self, key: str, value: bytes, seconds: int) -> bytes:
        """Keep a value unless there is one; the one that is kept, the same for all who ask at the same time."""
        name = f"{self._kept.namespace}:{key}"
        with _in_our_words():
            pipe = self._client.pipeline(transaction=True)
            pipe.set(name, value, ex=seconds, nx=True)
            pipe.get(name)
            _, found = await pipe.execute()
            return cast("bytes", found)

    async def set(self, key: str, value: str | bytes, expires_in: int | timedelta | None = None) -> None:
        with _in_our_words():
            await self._kept.set(key, value, expires_in)

    async def get(self, key: str, renew_for: int | timedelta | None = None) -> bytes | None:
        with _in_our_words():
            return await self._kept.get(key, renew_for)

    async def delete(self, key: str) -> None:
        with _in_our_words():
            await self._kept.delete(key)

    async def delete_all(self) -> None:
        with _in_our_words():
            await self._kept.delete_all()

    async def exists(self, key: str) -> bool:
        with _in_our_words():
            return await self._kept.exists(key)

    async def expires_in(self, key: str) -> int | None:
        with _in_our_words():
            return await self._kept.expires_in(key)


@contextmanager
def _in_our_words() -> Iterator[None]:
    try:
        yield
    except (RedisError, OSError) as error:  # a timeout is an OSError
        raise NotReadable(f"Redis does not answer ({type(error).__name__})") from error
