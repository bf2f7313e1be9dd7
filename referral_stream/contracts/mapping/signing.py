"""How a source of the mapping file signs its requests: what the receiver makes a scheme of."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple, TypeAlias, get_args

Algorithm: TypeAlias = Literal["sha1", "sha256", "sha512"]
Encoding: TypeAlias = Literal["hex", "base64"]
ALGORITHMS: Final[tuple[Algorithm, ...]] = get_args(Algorithm)
ENCODINGS: Final[tuple[Encoding, ...]] = get_args(Encoding)


class Signature(NamedTuple):
    """An HMAC of the body in a header: ``prefix`` and the digest."""

    header: str
    algorithm: Algorithm = "sha256"
    encoding: Encoding = "hex"
    prefix: str = ""
