"""The lifecycle of one upload: its states and legal moves, its parts, and the proof that none is missing.

Pure: no I/O, no threads. Everything that an upload knows about itself stands here, and nowhere a second time.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum

from s3writer._upload.plan import MAX_PARTS


class State(Enum):
    """Where an upload stands. COMMITTED, ABORTED and UNKNOWN are the three outcomes. PREPARED and KEPT leave it in S3,
    to be ended by somebody else; KEPT is also what could not be aborted.
    """

    OPEN = "open"
    COMMITTING = "committing"
    ABORTING = "aborting"
    COMMITTED = "committed"
    ABORTED = "aborted"
    UNKNOWN = "unknown"
    PREPARED = "prepared"
    KEPT = "kept"


#: Whoever is aborting can't publish any more; whose commit is under way can turn out any way.
MOVES: dict[State, frozenset[State]] = {
    State.OPEN: frozenset({State.COMMITTING, State.ABORTING, State.KEPT}),
    State.COMMITTING: frozenset({State.COMMITTED, State.ABORTING, State.UNKNOWN, State.PREPARED, State.KEPT}),
    State.ABORTING: frozenset({State.ABORTED, State.KEPT}),
    State.COMMITTED: frozenset(),
    State.ABORTED: frozenset(),
    State.UNKNOWN: frozenset(),
    State.PREPARED: frozenset(),
    State.KEPT: frozenset({State.ABORTING}),
}


@dataclass(frozen=True, slots=True)
class Receipt:
    """S3's word that it has a part: its number, size in bytes, ETag, and checksums by the name of S3's field."""

    number: int
    size: int
    etag: str
    checksums: dict[str, str]


@dataclass(frozen=True, slots=True)
class UploadResult:
    """What was published.

    Attributes:
        bucket: where it is.
        key: its name there.
        etag: S3's entity tag, quotes included.
        version_id: the version that was made, None in a bucket without versions.
        size: bytes.
        parts: of how many parts the object was made; 1 when it went in a single request.
        checksum: ``"CRC64NVME:<base64>"`` of the whole object, or None when no checksum was asked for. With SHA1 and
            SHA256, of more than one part, what S3 says: of the parts' checksums, or None.

    """

    bucket: str
    key: str
    etag: str
    version_id: str | None
    size: int
    parts: int
    checksum: str | None


@dataclass(slots=True)
class Session:
    """State, parts and receipts of one upload."""

    state: State = State.OPEN
    size: int = 0
    _sizes: list[int] = field(default_factory=list)
    _receipts: dict[int, Receipt] = field(default_factory=dict)

    def move(self, to: State) -> None:
        """Go to state ``to``, or RuntimeError if `MOVES` has no such move."""
        if to not in MOVES[self.state]:
            raise RuntimeError(f"an upload that is {self.state.value} can't become {to.value}")
        self.state = to

    def next_part(self) -> int:
        """The number of the part that comes next, counted from 1."""
        return len(self._sizes) + 1

    def is_full(self) -> bool:
        """Whether S3's 10,000 parts are used up."""
        return len(self._sizes) == MAX_PARTS

    def allot(self, size: int) -> int:
        """Number a part of ``size`` bytes that is to be sent now."""
        self._sizes.append(size)
        self.size += size
        return len(self._sizes)

    def record(self, receipts: Iterable[Receipt]) -> int:
        """Keep S3's receipts; the bytes that they acknowledge."""
        acknowledged = 0
        for receipt in receipts:
            self._receipts[receipt.number] = receipt
            acknowledged += receipt.size
        return acknowledged

    def manifest(self) -> list[Receipt]:
        """All receipts in order; RuntimeError unless they account for every part and byte that was sent."""
        receipts = [self._receipts[number] for number in sorted(self._receipts)]
        allotted = list(enumerate(self._sizes, start=1))
        if [(receipt.number, receipt.size) for receipt in receipts] != allotted:
            raise RuntimeError(f"{len(allotted)} parts were sent, but the receipts don't account for them")
        return receipts
