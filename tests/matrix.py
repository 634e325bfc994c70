"""Each call of an upload meets each fault, and the store itself is asked what came of it."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from s3writer import NotCommittedError, OutcomeUnknownError
from tests.helpers import MIB, content, data, logged, uploads, writer
from tests.proxies import Proxy
from tests.stores import BUCKET, free_port
from tests.wire import Wire

SMALL, LARGE = data(300_000), data(11 * MIB)
YESTERDAY = b"what the key held before"
ALWAYS = 10**6

PUBLISHED, NOT_PUBLISHED, UNKNOWN = "published", "not published", "unknown"


@dataclass(frozen=True)
class Call:
    """A call of an upload: S3's name, which part, the payload that leads to it, and the fault that must come first."""

    operation: str
    part: int | None = None
    payload: bytes = LARGE
    first: tuple[str, str, int | None] | None = None


CALLS = {
    "PutObject": Call("PutObject", payload=SMALL),
    "Create": Call("CreateMultipartUpload"),
    "first part": Call("UploadPart", part=1),
    "middle part": Call("UploadPart", part=2),
    "last part": Call("UploadPart", part=3),
    "Complete": Call("CompleteMultipartUpload"),
    "Abort": Call("AbortMultipartUpload", first=("UploadPart", "403", 2)),
    "ListParts": Call("ListParts", first=("UploadPart", "403", 2)),
    "HeadObject": Call("HeadObject", first=("CompleteMultipartUpload", "answer lost", None)),
}

REFUSED = "connection refused"
#: What an error's note or the log says of an upload whose id was lost with the answer to its beginning.
BEGUN = "may have begun whose id was lost"


@dataclass(frozen=True)
class Cell:
    """One call meets one fault: ``once``, through a client that tries again, or always, through one that does not."""

    call: str
    fault: str
    once: bool
    tls: bool


@dataclass(frozen=True)
class Seen:
    """What the program saw, the error if there was one, and what was logged."""

    outcome: str
    error: BaseException | None
    log: list[str]


def play(cell: Cell, proxy: Proxy, key: str) -> Seen:
    """Write an object while the fault happens; AssertionError if the outcome is not what the store shows."""
    call = CALLS[cell.call]
    direct = proxy.store.client()
    direct.put_object(Bucket=BUCKET, Key=key, Body=YESTERDAY)
    client = proxy.client(tls=cell.tls, attempts=3 if cell.once else 1)
    times = 1 if cell.once else ALWAYS
    if call.first:
        proxy.set(key, call.first[0], call.first[1], times=ALWAYS, part=call.first[2])
    if cell.fault == REFUSED:
        _refuse(client, call, times)
    else:
        proxy.set(key, call.operation, cell.fault, times=times, part=call.part)
    with logged() as log:
        try:
            with writer(client, key, equal_parts=True) as stream:
                stream.write(call.payload)
            seen = Seen(PUBLISHED, None, log)
        except NotCommittedError as error:
            seen = Seen(NOT_PUBLISHED, error, log)
        except OutcomeUnknownError as error:
            seen = Seen(UNKNOWN, error, log)
        finally:
            proxy.clear(key)
    _check(cell, seen, content(direct, key), uploads(direct, key))
    for upload_id in uploads(direct, key):
        direct.abort_multipart_upload(Bucket=BUCKET, Key=key, UploadId=upload_id)
    return seen


def _check(cell: Cell, seen: Seen, now: bytes | None, left: list[str]) -> None:
    payload = CALLS[cell.call].payload
    allowed = {PUBLISHED: [payload], NOT_PUBLISHED: [YESTERDAY], UNKNOWN: [payload, YESTERDAY]}[seen.outcome]
    assert now in allowed, f"{seen}: the key holds {len(now or b'')} bytes"
    told = getattr(seen.error, "upload_id", None)
    if BEGUN not in " ".join([*seen.log, *getattr(seen.error, "__notes__", [])]):
        assert set(left) <= {told}, f"{seen}: {left} is left and was not told"


def _refuse(client: Any, call: Call, times: int) -> None:
    """Nobody listens where the request goes."""
    nowhere = f"127.0.0.1:{free_port()}"
    left = itertools.count(times, -1)

    def elsewhere(request: Any) -> None:
        is_meant = call.part is None or f"partNumber={call.part}" in request.url
        if is_meant and next(left) > 0:
            scheme, _, rest = request.url.partition("://")
            request.url = f"{scheme}://{nowhere}/{rest.partition('/')[2]}"

    Wire(client).on(call.operation, elsewhere)


def cells(*, checks_checksums: bool) -> Iterator[Cell]:
    """All that make sense: a store that checks no checksums takes flipped bytes, and nobody can tell it."""
    for cell in itertools.starmap(Cell, itertools.product(CALLS, FAULTS, [False, True], [False, True])):
        if checks_checksums or cell.fault != "flipped byte":
            yield cell


def expected(cell: Cell) -> set[str]:
    """What may come of it."""
    always, once = _EXPECTED[cell.fault][cell.call]
    return {_OUTCOMES[letter] for letter in (once if cell.once else always)}


@contextmanager
def hurried() -> Iterator[None]:
    """Retries follow without much of a pause."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0.02)
        yield


#: The columns of the table for the documentation: all parts fare alike, and what hits the clean-up publishes nothing.
SHOWN = ["PutObject", "Create", "middle part", "Complete", "HeadObject"]


def page() -> str:
    """The table for the documentation."""
    lines = [f"| fault | {' | '.join(SHOWN).replace('middle ', '')} |", f"| --- |{' :---: |' * len(SHOWN)}"]
    for fault, row in _EXPECTED.items():
        lines.append(f"| {fault} | {' | '.join(_mark(*row[call]) for call in SHOWN)} |")
    return "\n".join(lines) + "\n"


def _mark(always: str, once: str) -> str:
    marks = {"P": "✓", "n": "✗", "?": "?"}
    first, then = ("/".join(marks[letter] for letter in letters) for letters in (always, once))
    return first if first == then else f"{first} → {then}"


#: For each fault and call: what comes of it if it happens each time, and if it happens once and attempts are left.
_OUTCOMES = {"P": PUBLISHED, "n": NOT_PUBLISHED, "?": UNKNOWN}
_TABLE = """
                         PutObject Create  part    Complete Abort ListParts HeadObject
connection refused       n P       n P     n P     n P      n n   n n       ? P
reset before the request ? P       n P     n P     n P      n n   n n       ? P
reset during the request ? P       P P     n P     P P      n n   n n       P P
reset after the request  ? P       n P     n P     n P      n n   n n       ? P
answer lost              P P       n P     n P     P P      n n   n n       ? P
answer cut               P P       n P     P P     P P      n n   n n       ? ?P
hang                     ? P       n P     n P     n P      n n   n n       ? P
hang though it acted     P P       n P     n P     P P      n n   n n       ? P
500                      n? P      n P     n P     n P      n n   n n       ? P
500 though it acted      P P       n P     n P     P P      n n   n n       ? P
503                      n? P      n P     n P     n P      n n   n n       ? P
200 with an error        n? P      n P     n P     n P      n n   n n       ? ?P
white space first        P P       P P     P P     P P      n n   n n       ? ?P
403                      n n       n n     n n     n n      n n   n n       ? ?P
expired token            n n       n n     n n     n n      n n   n n       ? ?P
404                      n n       n n     n n     n n      n n   n n       ? ?P
redirect                 n? nP?    n nP    n nP    n nP     n n   n n       ? ?P
garbage                  P P       n P     n P     P P      n n   n n       ? ?P
no ETag                  P P       P P     nP nP   P P      n n   n n       P P
empty ETag               P P       P P     nP nP   P P      n n   n n       P P
wrong checksum           P P       P P     n n     P P      n n   n n       P P
flipped byte             n n       P P     n n     n n      n n   n n       P P
"""


def _parsed() -> dict[str, dict[str, tuple[str, str]]]:
    head, *lines = _TABLE.strip("\n").splitlines()
    found: dict[str, dict[str, tuple[str, str]]] = {}
    for line in lines:
        fault, letters = line[:25].strip(), line[25:].split()
        row = dict(zip(head.split(), zip(letters[::2], letters[1::2], strict=True), strict=True))
        parts = row.pop("part")
        found[fault] = {call: row.get(call, parts) for call in CALLS}
    return found


_EXPECTED = _parsed()
FAULTS = list(_EXPECTED)


if __name__ == "__main__":
    print(page())
