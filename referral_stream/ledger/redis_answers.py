"""What Redis says when it refuses, and what helps: one row for each answer.

Some answers say that we are talking to the wrong server, or to one that is not itself yet. A connection that got one is
closed, with all others of its pool: the next call looks the address up again, and so finds the server that has taken
over. With the others the connection is not at fault.
"""

from __future__ import annotations

from dataclasses import dataclass
from time import monotonic
from typing import Final

from redis.exceptions import (
    AuthenticationError,
    MaxConnectionsError,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError


@dataclass(frozen=True, slots=True)
class RedisAnswer:
    """``says``: what is the matter, and what helps. ``elsewhere``: another server may do better than this one."""

    says: str
    elsewhere: bool = False


_LOGIN: Final = (
    "set the user and the password in REFERRAL_STREAM_REDIS_URL to those of the server; a file (…_FILE) is read again "
    "at each connection"
)
_CLUSTER: Final = (
    "it is a node of a Redis Cluster, which is not supported: point REFERRAL_STREAM_REDIS_URL at a single master or at "
    "Sentinels"
)

ANSWERS: Final[dict[str, RedisAnswer]] = {
    "READONLY": RedisAnswer(
        "the server is a replica: REFERRAL_STREAM_REDIS_URL has to lead to the master; looked up again", elsewhere=True
    ),
    "LOADING": RedisAnswer("the server is still loading its data: it will be tried again", elsewhere=True),
    "MASTERDOWN": RedisAnswer(
        "the server is a replica that has lost its master: promote it, or lead REFERRAL_STREAM_REDIS_URL to the master",
        elsewhere=True,
    ),
    "MOVED": RedisAnswer(_CLUSTER, elsewhere=True),
    "ASK": RedisAnswer(_CLUSTER, elsewhere=True),
    "CLUSTERDOWN": RedisAnswer(_CLUSTER, elsewhere=True),
    "TRYAGAIN": RedisAnswer(_CLUSTER, elsewhere=True),
    "CROSSSLOT": RedisAnswer(_CLUSTER, elsewhere=True),
    "NOREPLICAS": RedisAnswer(
        "the server has fewer replicas than its min-replicas-to-write asks for: bring them back, or lower it"
    ),
    "NOAUTH": RedisAnswer(f"the server wants a password: {_LOGIN}", elsewhere=True),
    "WRONGPASS": RedisAnswer(f"the server does not take our user and password: {_LOGIN}", elsewhere=True),
    "NOPERM": RedisAnswer(
        "our user may not do that: grant what docs/operations.md lists for Redis (ACL SETUSER)", elsewhere=True
    ),
    "OOM": RedisAnswer("the server's memory is full: raise maxmemory; with noeviction nothing is lost"),
    "MISCONF": RedisAnswer("the server cannot save its data and takes no writes: see its own log, and repair its disk"),
    "BUSY": RedisAnswer(
        "another script or function keeps the server busy: it ends by itself, or by SCRIPT KILL; give the ledger a "
        "server of its own"
    ),
    "UNKILLABLE": RedisAnswer("another script has written and cannot be ended: restart the server"),
    "NOSCRIPT": RedisAnswer("the server forgets scripts at once: turn off whatever flushes them"),
}
"""By the word that Redis's answer begins with."""

_TIMEOUT: Final = RedisAnswer(
    "no answer in time: is the network up, is the server overloaded, is a firewall dropping idle connections?",
    elsewhere=True,
)
_LOGIN_REFUSED: Final = RedisAnswer(f"the server refuses our login: {_LOGIN}", elsewhere=True)
_TOO_MANY: Final = RedisAnswer("too many connections: raise maxclients, or find out who holds them", elsewhere=True)
_UNREACHABLE: Final = RedisAnswer(
    "cannot be reached: is it running, and is REFERRAL_STREAM_REDIS_URL right?", elsewhere=True
)


_OF_THE_LOGIN: Final = frozenset({"NOAUTH", "WRONGPASS"})

_WORDS_OF_KINDS: Final = {
    "ReadOnlyError": "READONLY",
    "BusyLoadingError": "LOADING",
    "MasterDownError": "MASTERDOWN",
    "MovedError": "MOVED",
    "AskError": "ASK",
    "ClusterDownError": "CLUSTERDOWN",
    "TryAgainError": "TRYAGAIN",
    "ClusterCrossSlotError": "CROSSSLOT",
    "NoPermissionError": "NOPERM",
    "OutOfMemoryError": "OOM",
    "NoScriptError": "NOSCRIPT",
}
"""redis-py takes the words that it knows off, and makes a kind of error of them."""


def code_of(error: BaseException) -> str:
    """The word that Redis's answer began with; the kind of failure where it gave none."""
    kind = type(error).__name__
    if kind in _WORDS_OF_KINDS:
        return _WORDS_OF_KINDS[kind]
    # In front of the word there may be one of Redis's own, if the answer comes out of a script.
    words = (word.lstrip("-") for word in str(error).replace(":", " ").split())
    named = getattr(error, "status_code", None)
    return next((word for word in (named, *words) if word in ANSWERS), kind)


def meaning(error: BaseException) -> RedisAnswer:
    """What an error of a call means."""
    known = ANSWERS.get(code_of(error))
    if known is not None:
        return known
    match error:
        case TimeoutError() | RedisTimeoutError():
            return _TIMEOUT
        case AuthenticationError():
            return _LOGIN_REFUSED
        case MaxConnectionsError():
            return _TOO_MANY
        case RedisConnectionError() if "max number of clients" in str(error):
            return _TOO_MANY
        case RedisConnectionError() | OSError():
            return _UNREACHABLE
        case ResponseError() | RedisError():
            return RedisAnswer("refused the call; see the server's own log")
        case _:
            return RedisAnswer("failed")


class LoginWatch:
    """For how long a Redis has been known to refuse our login."""

    def __init__(self) -> None:
        self._since: float | None = None

    @property
    def refused(self) -> bool:
        return self._since is not None

    @property
    def refused_seconds(self) -> float:
        """0: it does not."""
        return 0.0 if self._since is None else monotonic() - self._since

    def note(self, error: BaseException | None) -> None:
        """What a call has come to; None: an answer."""
        refused = error is not None and (isinstance(error, AuthenticationError) or code_of(error) in _OF_THE_LOGIN)
        if not refused:
            self._since = None
        elif self._since is None:
            self._since = monotonic()
