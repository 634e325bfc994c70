"""One segment of an object that many machines write: its place in the driver's upload, its part sizes, its receipt.

S3 makes an object of parts in the order of their numbers, whoever sent them. So each segment gets part numbers of its
own beforehand, and its worker sends parts under them without asking anybody. Only the last part of an object may be
smaller than 5 MiB, and no worker knows the bytes before its own. So a worker keeps the first 5 MiB of its segment (the
*head*), and the rest at the end (the *tail*, less than 5 MiB). It sends both to the driver, which joins the ends of
neighbours and makes parts of them.

A short segment leaves part numbers unused. S3 takes such gaps only if the parts have no checksums of its newer kinds
(API reference, CompletedPart). So each part is sent with its MD5, which S3 verifies. Its CRC stays in the receipt; the
driver combines the CRCs into that of the whole object.

Parts grow: first as those of any upload, then so that the last of ``parts`` has S3's largest size,

```text
size(n) = max(grown(n), part_size * (5 GiB / part_size) ** ((n - 1) / (parts - 1)))
```

All parts together hold ``parts * 5 GiB / ln(5 GiB / part_size)`` bytes or more: 0.7 GiB for each part number if
``part_size`` is 5 MiB, and up to nearly 5 GiB if it is larger. If the length of the object is known, the first three
quarters of a segment's parts have one size, and hold its even share. Only the bytes beyond that share are in growing
parts.
"""

import base64
import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from s3writer._s3.checksums import named
from s3writer._s3.proof import Proof
from s3writer._s3.receipts import Receipt
from s3writer._upload.plan import MAX_PART_BYTES, MIN_PART_BYTES, Plan


@dataclass(frozen=True)
class Segment:
    """The place of one segment in an upload. Plain data: it pickles, and holds no secret.

    Attributes:
        bucket: where the object will be.
        key: the object's name there.
        upload_id: S3's name for the upload.
        number: the segment's number, counted from 0.
        first: the part number before the segment's own. The driver uses it for bytes before the segment's own parts.
        parts: how many part numbers of its own the segment has, from ``first`` + 1 on.
        part_size: bytes in the first of its own parts.
        steady: how many of its own parts are no larger than ``part_size``.
        checksum: the name of the CRC, or None.
        s3_arguments: those of S3's arguments that parts need, without the SSE-C key.

    """

    bucket: str
    key: str
    upload_id: str
    number: int
    first: int
    parts: int
    part_size: int = MIN_PART_BYTES
    steady: int = 0
    checksum: str | None = None
    s3_arguments: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class SegmentReceipt:
    """What the writer of a segment gives the driver. Plain data: it pickles, and goes to JSON and back.

    Attributes:
        upload_id: S3's name for the upload.
        number: the segment's number, counted from 0.
        parts: the receipts of the parts that S3 has.
        head: the bytes before these parts, 5 MiB at the most.
        tail: the bytes after these parts, less than 5 MiB.

    """

    upload_id: str
    number: int
    parts: tuple[Receipt, ...] = field(repr=False, hash=False)
    head: bytes = field(repr=False)
    tail: bytes = field(repr=False)

    @property
    def size(self) -> int:
        """How many bytes the segment has."""
        return len(self.head) + sum(part.size for part in self.parts) + len(self.tail)

    def to_json(self) -> str:
        """Return the receipt as JSON, for `from_json`: up to 14 MB."""
        ends = {name: base64.b64encode(getattr(self, name)).decode() for name in ("head", "tail")}
        return json.dumps({**dataclasses.asdict(self), **ends})

    @classmethod
    def from_json(cls, text: str | bytes) -> "SegmentReceipt":
        """Read what `to_json` has made. ValueError for anything else."""
        try:
            given = json.loads(text)
            given["parts"] = tuple(Receipt(**part) for part in given["parts"])
            given.update((name, base64.b64decode(given[name], validate=True)) for name in ("head", "tail"))
            receipt = cls(**given)
            if not isinstance(receipt.upload_id, str) or type(receipt.number) is not int:
                raise ValueError("it says of no segment what it is of")
            return receipt
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"this is no SegmentReceipt: {error}") from error


def segment_proof(checksum: str | None) -> Proof:
    """How parts of segments are verified. The upload declares no algorithm, since its part numbers may have gaps."""
    return Proof(named(checksum) if checksum else None, is_declared=False)


@dataclass(frozen=True, slots=True)
class SegmentPlan(Plan):
    """The sizes in bytes of a segment's own ``parts``; the first ``steady`` ones don't grow. Sizes don't depend on
    speed: if a segment is run twice, both runs must cut it into the same parts.
    """

    parts: int
    steady: int

    adapts: ClassVar[bool] = False

    @classmethod
    def of(cls, plan: Plan, segment: Segment) -> "SegmentPlan":
        """``plan`` for this segment."""
        return cls(**dataclasses.asdict(plan), parts=segment.parts, steady=segment.steady)

    def size(self, number: int) -> int:
        """Bytes in the segment's own part ``number``, counted from 1."""
        if number <= self.steady:
            return min(self.part_size, self.ceiling)
        growing = self.parts - self.steady
        progress = min(1.0, (number - self.steady - 1) / (growing - 1)) if growing > 1 else 1.0
        demanded: int = round(self.part_size * (MAX_PART_BYTES / self.part_size) ** progress)
        return min(max(Plan.size(self, number), demanded), self.ceiling)
