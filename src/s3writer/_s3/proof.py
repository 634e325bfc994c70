"""Which checksums go with the bytes of an upload, and which of them S3 has confirmed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from s3writer._s3.checksums import MD5, Algorithm, Digest, best, named
from s3writer._s3.receipts import Receipt


@dataclass(frozen=True, slots=True)
class Proof:
    """The checksums of an upload, of ``algorithm``; None means no checksums.

    ``is_declared`` says that S3 was told the algorithm when the upload began. If not, S3 takes checksums of its newer
    kinds neither with the parts nor in the commit. Then each part goes with its MD5, and the commit names ETags alone.
    ``combines`` says whether the parts' checksums yield the whole object's.
    """

    algorithm: Algorithm | None = None
    is_declared: bool = True
    combines: bool = True

    @property
    def declaration(self) -> dict[str, str]:
        """CreateMultipartUpload's arguments that tell the algorithm."""
        if not self.algorithm:
            return {}
        kind = "FULL_OBJECT" if self.algorithm.crc else "COMPOSITE"
        return {"ChecksumAlgorithm": self.algorithm.name, "ChecksumType": kind}

    def start_digest(self) -> Digest | None:
        """A digest for the next part, or None without checksums."""
        return self.algorithm.start() if self.algorithm else None

    def of(self, pieces: Sequence[memoryview], digest: Digest | None) -> dict[str, str]:
        """The checksum of ``pieces``, by the name of S3's field. ``digest`` has seen the first of their bytes."""
        if self.algorithm is None or digest is None:
            return {}
        return {self.algorithm.field: digest.value_of(pieces)}

    def of_part(self, checksums: dict[str, str], pieces: Sequence[memoryview]) -> dict[str, str]:
        """The arguments by which S3 verifies a part that has these checksums."""
        return checksums if self.is_declared or not checksums else {"ContentMD5": MD5.start().value_of(pieces)}

    def of_whole(self, receipts: Sequence[Receipt]) -> str | None:
        """The object's checksum, "NAME:base64", computed from its parts' checksums. None if they don't yield one."""
        if not self.algorithm or not self.algorithm.crc or not self.combines:
            return None
        name = self.algorithm.field
        if any(name not in receipt.checksums for receipt in receipts):
            return None
        combined = self.algorithm.crc.combine((receipt.checksums[name], receipt.size) for receipt in receipts)
        return labelled({name: combined})

    def confirmed(self, answer: Mapping[str, Any], computed: str | None) -> str | None:
        """The object's checksum that S3's ``answer`` to a commit has, "NAME:base64"; None if it has none."""
        name = computed.partition(":")[0] if computed else self.algorithm.name if self.algorithm else ""
        return labelled({f"Checksum{name}": answer.get(f"Checksum{name}")})


NO_CHECKSUMS = Proof()


def proof_for(checksum: str | None, client: Any, *, is_ours: bool) -> Proof:
    """The proof by the algorithm that ``checksum`` names. "auto" is the best one, or none if the client wants none."""
    if checksum is None:
        return NO_CHECKSUMS
    if checksum != "auto":
        return Proof(named(checksum))
    wants_none = client.meta.config.request_checksum_calculation == "when_required"
    return NO_CHECKSUMS if wants_none and not is_ours else Proof(best())


def labelled(checksums: Mapping[str, Any]) -> str | None:
    """The first of S3's checksum fields, as "NAME:base64"; None if there is none."""
    return next((f"{name.removeprefix('Checksum')}:{value}" for name, value in checksums.items() if value), None)
