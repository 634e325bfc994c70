"""Computes the digest of a part, and the digest of the whole object from those of its parts.

A CRC is linear: the CRC of two concatenated strings follows from the CRCs of both and the length of the second, without
their bytes. ``crc(a + b) = crc(a) * x**(8 * len(b)) + crc(b)``, as polynomials over GF(2) modulo the CRC's generator
(M. Adler's ``crc32_combine`` in zlib; the conditioning with all ones cancels out). So the whole object's checksum,
S3's type FULL_OBJECT, needs no second pass. Hashes have no such rule: S3 keeps one for each part, type COMPOSITE.

CRC64NVME and CRC32C come from awscrt (the extra ``s3writer[crt]``), CRC32 and the hashes from the standard library.
S3's algorithms: https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html
"""

import base64
import contextlib
import hashlib
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any


class Digest:
    """The digest of bytes that come in pieces; ``size`` tells how many have come."""

    def __init__(self, update: Callable[[memoryview, Any], Any], state: Any, finish: Callable[[Any], bytes]) -> None:
        self.size = 0
        self._update = update
        self._state = state
        self._finish = finish

    def update(self, data: memoryview) -> None:
        """Take ``data`` as the next bytes."""
        self._state = self._update(data, self._state)
        self.size += len(data)

    def value(self) -> str:
        """The digest as S3 writes it: base64 of the big-endian bytes."""
        return base64.b64encode(self._finish(self._state)).decode()

    def value_of(self, pieces: Sequence[memoryview]) -> str:
        """Digest ``pieces``, of which the first ``size`` bytes were digested before. Returns the value of the whole."""
        seen = self.size
        for piece in pieces:
            with piece[seen:] as rest:
                self.update(rest)
            seen = max(0, seen - len(piece))
        return self.value()


@dataclass(frozen=True, slots=True)
class Algorithm:
    """One of S3's checksum algorithms: its name there, how to begin a digest, and its CRC if it is one.

    ``outruns_memory`` says that the algorithm is faster than memory. Then bytes are best digested while they are still
    in the processor's cache.
    """

    name: str
    start: Callable[[], Digest]
    crc: "Crc | None" = None
    outruns_memory: bool = False

    @property
    def field(self) -> str:
        """The name of S3's parameter and answer field that carries a value."""
        return f"Checksum{self.name}"


@dataclass(frozen=True, slots=True)
class Crc:
    """A reflected CRC: its width in bits, and its generator, with reversed bits and without the leading one."""

    width: int
    generator: int

    def combine(self, parts: Iterable[tuple[str, int]]) -> str:
        """The value of the whole. ``parts`` are the values and the lengths in bytes of its parts, in order."""
        whole = 0
        for value, length in parts:
            part = int.from_bytes(base64.b64decode(value))
            whole = self._times(_shift(self, length), whole) ^ part
        return base64.b64encode(whole.to_bytes(self.width // 8)).decode()

    def _times(self, a: int, b: int) -> int:
        """The product of two polynomials modulo the generator; the highest bit is the coefficient of x**0."""
        product = 0
        for bit in range(self.width - 1, -1, -1):
            if a >> bit & 1:
                product ^= b
            b = (b >> 1) ^ (self.generator if b & 1 else 0)
        return product


@lru_cache(maxsize=256)
def _shift(crc: Crc, length: int) -> int:
    """``x ** (8 * length)`` modulo the generator, by repeated squaring."""
    result, square = 1 << (crc.width - 1), 1 << (crc.width - 9)
    while length:
        if length & 1:
            result = crc._times(square, result)
        square = crc._times(square, square)
        length >>= 1
    return result


def _crc(name: str, function: Callable[..., int], crc: Crc, *, outruns_memory: bool) -> Algorithm:
    def start() -> Digest:
        return Digest(function, 0, lambda value: value.to_bytes(crc.width // 8))

    return Algorithm(name, start, crc, outruns_memory)


def _hash(name: str) -> Algorithm:
    def update(data: memoryview, state: Any) -> Any:
        state.update(data)
        return state

    def start() -> Digest:
        return Digest(update, hashlib.new(name, usedforsecurity=False), lambda state: state.digest())

    return Algorithm(name, start)


#: S3 uses it for the ETag of a part. It is not among `algorithms`, so no writer can choose it.
MD5 = _hash("MD5")


@lru_cache(maxsize=1)
def algorithms() -> dict[str, Algorithm]:
    """The algorithms that this installation offers, by their names."""
    found = [_crc("CRC32", zlib.crc32, Crc(32, 0xEDB88320), outruns_memory=False), _hash("SHA1"), _hash("SHA256")]
    with contextlib.suppress(Exception):  # an old awscrt has no CRC64NVME, and a broken one may raise anything
        from awscrt import checksums as crt

        found.append(_crc("CRC32C", crt.crc32c, Crc(32, 0x82F63B78), outruns_memory=True))
        found.append(_crc("CRC64NVME", crt.crc64nvme, Crc(64, 0x9A6C9329AC4BC9B5), outruns_memory=True))
    return {algorithm.name: algorithm for algorithm in found}


def best() -> Algorithm:
    """The algorithm for "auto"."""
    return algorithms().get("CRC64NVME", algorithms()["CRC32"])


def named(name: str) -> Algorithm:
    """The algorithm called ``name``. ValueError names those that there are, and the package that may be missing."""
    if algorithm := algorithms().get(name):
        return algorithm
    raise ValueError(
        f"checksum={name!r} is not one of {', '.join(sorted(algorithms()))}, 'auto' or None{missing(name)}"
    )


def missing(name: str) -> str:
    """What an error adds about the package that the algorithm ``name`` needs; empty if it needs none."""
    return " (it needs awscrt: pip install 's3writer[crt]')" if name in {"CRC64NVME", "CRC32C"} else ""
