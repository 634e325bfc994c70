"""The digest of a part, and the whole object's digest from its parts'.

A CRC is linear: the CRC of two strings laid end to end follows from the CRCs of both and the length of the second,
without a look at the bytes. ``crc(a + b) = crc(a) * x**(8 * len(b)) + crc(b)``, as polynomials over GF(2) modulo the
CRC's generator (M. Adler's ``crc32_combine`` in zlib; the conditioning with all ones cancels out). So the whole
object's checksum, S3's type FULL_OBJECT, costs no second pass. Hashes have no such rule, and S3 keeps them part by
part, type COMPOSITE.

CRC64NVME and CRC32C come from awscrt (the extra ``s3writer[crt]``), CRC32 and the hashes from the standard library.
S3's algorithms: https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html
"""

import base64
import hashlib
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache

try:
    from awscrt import checksums as _crt
except ImportError:
    _crt = None


@dataclass(frozen=True, slots=True)
class Algorithm:
    """One of S3's checksum algorithms: its name there, the digest of some bytes, and its CRC if it is one."""

    name: str
    digest: Callable[[memoryview], bytes]
    crc: "Crc | None" = None

    @property
    def field(self) -> str:
        """The name of S3's parameter and answer field that carries a value."""
        return f"Checksum{self.name}"

    def value(self, data: memoryview) -> str:
        """The digest of ``data`` as S3 writes it: base64 of the big-endian bytes."""
        return base64.b64encode(self.digest(data)).decode()


@dataclass(frozen=True, slots=True)
class Crc:
    """A reflected CRC: its width in bits and its generator with the bits reversed and the leading one left out."""

    width: int
    generator: int

    def combine(self, parts: Iterable[tuple[str, int]]) -> str:
        """The value of the whole from the values and the lengths in bytes of its parts, in order."""
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


_CRC32 = Algorithm("CRC32", lambda data: zlib.crc32(data).to_bytes(4), Crc(32, 0xEDB88320))
_SHA1 = Algorithm("SHA1", lambda data: hashlib.sha1(data, usedforsecurity=False).digest())
_SHA256 = Algorithm("SHA256", lambda data: hashlib.sha256(data).digest())

ALGORITHMS = {algorithm.name: algorithm for algorithm in (_CRC32, _SHA1, _SHA256)}
#: What a writer uses that is not told otherwise.
BEST = _CRC32

if _crt is not None:
    BEST = Algorithm("CRC64NVME", lambda data: _crt.crc64nvme(data).to_bytes(8), Crc(64, 0x9A6C9329AC4BC9B5))
    ALGORITHMS[BEST.name] = BEST
    ALGORITHMS["CRC32C"] = Algorithm("CRC32C", lambda data: _crt.crc32c(data).to_bytes(4), Crc(32, 0x82F63B78))


def named(name: str) -> Algorithm:
    """The algorithm of that name, or ValueError saying which there are and what would bring it."""
    if algorithm := ALGORITHMS.get(name):
        return algorithm
    hint = " (it needs awscrt: pip install 's3writer[crt]')" if name in {"CRC64NVME", "CRC32C"} else ""
    raise ValueError(f"checksum={name!r} is not one of {', '.join(sorted(ALGORITHMS))}, 'auto' or None{hint}")
