"""The parts of one upload: their numbers and sizes, S3's receipts, and a check that none is missing. Pure."""

from s3writer._s3.receipts import Receipt
from s3writer._upload.plan import MAX_PARTS


class Ledger:
    """Parts that were sent, and receipts that came back.

    Its own numbers begin with 1. S3 numbers the parts from ``first`` + 1 on. There may be ``most`` parts.
    """

    def __init__(self, first: int = 0, most: int | None = None) -> None:
        self.first = first
        self.most = MAX_PARTS if most is None else most
        #: The bytes of all parts.
        self.size = 0
        self._sizes: list[int] = []
        self._receipts: dict[int, Receipt] = {}

    @property
    def parts(self) -> int:
        """How many parts there are."""
        return len(self._sizes)

    @property
    def next_part(self) -> int:
        """The number of the part that comes next."""
        return len(self._sizes) + 1

    @property
    def is_full(self) -> bool:
        """Whether there can be no more parts."""
        return len(self._sizes) >= self.most

    def allot(self, size: int) -> int:
        """Count a part of ``size`` bytes that is about to be sent. Returns its number."""
        self._sizes.append(size)
        self.size += size
        return len(self._sizes)

    def record(self, receipt: Receipt) -> None:
        """Keep S3's receipt."""
        self._receipts[receipt.number] = receipt

    def manifest(self) -> list[Receipt]:
        """All receipts in order; RuntimeError unless they account for every part and byte that was sent."""
        receipts = [self._receipts[number] for number in sorted(self._receipts)]
        allotted = list(enumerate(self._sizes, start=self.first + 1))
        if [(receipt.number, receipt.size) for receipt in receipts] != allotted:
            raise RuntimeError(f"{len(allotted)} parts were sent, but the receipts don't account for them")
        return receipts
