"""The driver's side: an upload whose parts come from the writers of its segments."""

import dataclasses
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Unpack

from s3writer._errors import NotCommittedError, add_note
from s3writer._s3 import faults
from s3writer._s3.arguments import Arguments, check_address, refuse_dot_segments
from s3writer._s3.calls import Calls
from s3writer._s3.checksums import best, named
from s3writer._s3.receipts import Receipt, UploadResult, bare
from s3writer._s3.watching import watch
from s3writer._upload import outcome
from s3writer._upload.beginning import Beginning
from s3writer._upload.jobs import run
from s3writer._upload.plan import MAX_PART_BYTES, MIB, MIN_PART_BYTES, make_plan
from s3writer.options import CommitArguments, CrcChecksum, S3Arguments
from s3writer.pending import PendingUpload, check_customer_key, checked, commit
from s3writer.segments.joints import Joiner
from s3writer.segments.part_numbers import MAX_SEGMENTS, NUMBERS
from s3writer.segments.segment import Segment, SegmentReceipt, segment_proof
from s3writer.segments.writer import chosen_for_segments

#: After an interrupt, how long to wait for the id of the upload that is being begun.
_PATIENCE_SECONDS = 10.0


@dataclass(frozen=True)
class SegmentedUpload:
    """An upload whose parts come from the writers of its segments. Plain data: it pickles, goes to JSON and back, and
    holds no secret.

    Until it is committed or aborted, S3 stores and bills its parts, and no listing of objects shows them.

    Attributes:
        bucket: where the object will be.
        key: the object's name there.
        upload_id: S3's name for the upload.
        segments: how many there are; S3's part numbers are divided among them evenly.
        part_size: bytes in a segment's first part; later parts grow.
        expected_size: bytes of the whole object; None if it was not given.
        checksum: the name of the CRC of the whole object, or None.
        token: the ``s3writer-token`` that the object will have in its metadata, or None.
        exclusive: publish only if the key does not exist.
        s3_arguments: those that parts and the commit need, without the SSE-C key.

    """

    bucket: str
    key: str
    upload_id: str
    segments: int
    part_size: int = MIN_PART_BYTES
    expected_size: int | None = None
    checksum: str | None = None
    token: str | None = None
    exclusive: bool = False
    s3_arguments: Mapping[str, str] = field(default_factory=dict, hash=False)

    @classmethod
    def begin(
        cls,
        bucket: str,
        key: str,
        *,
        segments: int,
        client: Any = None,
        part_size: int = MIN_PART_BYTES,
        expected_size: int | None = None,
        checksum: CrcChecksum = "auto",
        exclusive: bool = False,
        commit_token: bool = True,
        allow_dot_segments: bool = False,
        **s3_arguments: Unpack[S3Arguments],
    ) -> "SegmentedUpload":
        """Begin an upload in S3.

        Parameters:
            segments: 1 to 4,999.
            client: a boto3 S3 client with ``request_checksum_calculation="when_required"``; None: the one that writers
                share.
            part_size: bytes, 5 MiB to 5 GiB, in each segment's first part.
            expected_size: bytes of the whole object. Three quarters of a segment's parts then have one size, and hold
                an even share of the object. Without it parts grow, and 7 TiB fit if the segments are equally long.
            checksum: "auto", "CRC64NVME", "CRC32C", "CRC32", or None, which also leaves out the MD5 of each part.
            exclusive, commit_token, allow_dot_segments, **s3_arguments: as for a `MultipartUploadWriter`.

        Raises TypeError or ValueError for an impossible parameter, before S3 is asked. Raises `NotCommittedError` if S3
        refuses.

        """
        _check_number("segments", segments, 1, MAX_SEGMENTS)
        check_address(bucket, key)
        if not allow_dot_segments:
            refuse_dot_segments(key)
        s3, arguments = _client_and_arguments(client, s3_arguments)
        algorithm = best() if checksum == "auto" else None if checksum is None else named(checksum)
        if algorithm and not algorithm.crc:
            raise ValueError(f"checksum={checksum!r} can't be combined from parts: take one of the CRCs")
        token = os.urandom(16).hex() if commit_token else None
        calls = Calls(s3, bucket, key, arguments, exclusive=exclusive, token=token)
        settled: dict[str, Any] = {
            "segments": segments,
            "part_size": first_part_size(part_size, expected_size, segments),
            "expected_size": expected_size,
            "checksum": algorithm.name if algorithm else None,
            "token": token,
            "exclusive": exclusive,
            "s3_arguments": arguments.for_commit(),
        }
        beginning = Beginning(calls)
        try:
            return cls(bucket, key, beginning.begin(), **settled)
        except NotCommittedError:
            raise
        except BaseException as interrupt:
            upload_id = beginning.find_id(_PATIENCE_SECONDS)
            left = f"upload {upload_id} of {calls.url} has begun: abort it" if upload_id else beginning.lost
            if left:
                add_note(interrupt, left)
            raise

    def segment(self, number: int) -> Segment:
        """The segment ``number``, counted from 0. ValueError if there is no such segment."""
        _check_number("number", number, 0, self.segments - 1)
        return segment_at(self, number, 1 + number * self._share, self._share)

    @property
    def _share(self) -> int:
        """How many part numbers each segment has."""
        return NUMBERS // self.segments

    def commit(
        self,
        receipts: Iterable[SegmentReceipt],
        *,
        client: Any = None,
        header: bytes = b"",
        separator: bytes = b"",
        footer: bytes = b"",
        **s3_arguments: Unpack[CommitArguments],
    ) -> UploadResult:
        """Send the bytes between the segments' own parts, and publish the object. Returns the result.

        Parameters:
            receipts: those of all segments, in any order.
            client: as in `begin`.
            header, footer: bytes before and after all segments. They are not compressed here: if the segments are
                compressed, give compressed bytes.
            separator: bytes between two segments that are not empty, as for ``header``.
            **s3_arguments: S3's own. ``SSECustomerKey`` must be given again if there is one.

        Raises ValueError or TypeError for an impossible parameter, and if a receipt is missing, comes twice with
        different parts, or is of another upload. Raises `S3WriterError` if the upload was committed before, and as
        `PendingUpload.commit` does. In all these cases the upload is not aborted.

        """
        header, separator, footer = (
            as_bytes(name, given) for name, given in (("header", header), ("separator", separator), ("footer", footer))
        )
        ordered = self._in_order(receipts)
        check_customer_key(self.key, self.s3_arguments, s3_arguments)
        calls = calls_of(self, client, s3_arguments)
        try:
            with Joiner(calls, self.upload_id, separator) as joiner:
                joiner.add(header)
                for receipt in ordered:
                    joiner.take(receipt)
                joiner.add(footer)
                parts = joiner.finish()
        except NotCommittedError as error:
            raise (outcome.gone(calls, self.upload_id) if faults.says_gone(error) else error) from error.__cause__
        pending = pending_of(self, parts)
        try:
            return commit(pending, checked(pending, client, s3_arguments), joiner.checksum)
        except NotCommittedError as error:
            note_overwritten(error, calls, pending, joiner, "commit with that run's receipt, or write it again.")
            raise

    def abort(self, *, client: Any = None, **s3_arguments: Unpack[CommitArguments]) -> bool:
        """Remove the upload from S3, as `PendingUpload.abort` does. Writers that are still writing a segment fail."""
        return pending_of(self, ()).abort(client=client, **s3_arguments)

    def to_json(self) -> str:
        """Return the upload as JSON, for `from_json`."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> "SegmentedUpload":
        """Read what `to_json` has made. ValueError for anything else."""
        try:
            upload = cls(**json.loads(text))
            check_address(upload.bucket, upload.key)
            _check_number("segments", upload.segments, 1, MAX_SEGMENTS)
            if not isinstance(upload.upload_id, str):
                raise ValueError(f"{upload.upload_id!r} is no upload_id")
            return upload
        except (TypeError, ValueError) as error:
            raise ValueError(f"this is no SegmentedUpload: {error}") from error

    def _in_order(self, receipts: Iterable[SegmentReceipt]) -> list[SegmentReceipt]:
        found: dict[int, SegmentReceipt] = {}
        for receipt in receipts:
            if not isinstance(receipt, SegmentReceipt):
                raise TypeError(f"receipts must be SegmentReceipts, not {type(receipt).__name__}")
            if receipt.upload_id != self.upload_id:
                raise ValueError(f"the receipt of segment {receipt.number} is of another upload, {receipt.upload_id}")
            if found.setdefault(receipt.number, receipt) != receipt:
                raise ValueError(f"there are two receipts of segment {receipt.number}, of different parts")
        if missing := set(range(self.segments)) ^ found.keys():
            raise ValueError(f"the receipts are not those of segments 0 to {self.segments - 1}: see {sorted(missing)}")
        return [receipt for _, receipt in sorted(found.items())]


def segment_at(upload: SegmentedUpload, number: int, first: int, share: int) -> Segment:
    """The segment that has ``share`` part numbers from ``first`` on."""
    return Segment(
        upload.bucket,
        upload.key,
        upload.upload_id,
        number,
        first,
        share - 1,
        upload.part_size,
        0 if upload.expected_size is None else steady_parts(share - 1),
        upload.checksum,
        upload.s3_arguments,
    )


def pending_of(upload: SegmentedUpload, parts: Iterable[Receipt]) -> PendingUpload:
    """A `PendingUpload` with these parts, without their checksums: S3 takes none if part numbers have gaps."""
    plain = tuple(bare(parts))
    return PendingUpload(
        upload.bucket,
        upload.key,
        upload.upload_id,
        sum(part.size for part in plain),
        plain,
        None,
        upload.token,
        upload.exclusive,
        upload.s3_arguments,
    )


def note_overwritten(
    error: NotCommittedError, calls: Calls, pending: PendingUpload, joiner: Joiner, advice: str
) -> None:
    """If S3 has refused the commit since it has other parts than ``joiner`` took, ``error`` gets a note that names
    their segments, and says ``advice``.
    """
    if faults.code(error.__cause__) == "InvalidPart":
        add_note(error, f"Another run of {_overwritten(calls, pending, joiner)} has overwritten parts: {advice}")


def _overwritten(calls: Calls, pending: PendingUpload, joiner: Joiner) -> str:
    """Which segments those are."""
    try:
        pages = run(lambda: list(calls.list_parts(pending.upload_id)))
    except NotCommittedError:
        return "a segment"
    listed = {part["PartNumber"]: part.get("ETag") for page in pages for part in page.get("Parts", [])}
    differing = (part.number for part in pending.parts if listed.get(part.number, part.etag) != part.etag)
    numbers = sorted({joiner.segment_of[number] for number in differing if number in joiner.segment_of})
    return f"segment {', '.join(map(str, numbers))}" if numbers else "a segment"


def calls_of(upload: SegmentedUpload, client: Any, s3_arguments: Mapping[str, Any]) -> Calls:
    """The calls that send parts of ``upload``."""
    s3, arguments = _client_and_arguments(client, {**upload.s3_arguments, **s3_arguments})
    arguments.refuse_late_ones()
    return Calls(s3, upload.bucket, upload.key, arguments, segment_proof(upload.checksum), token=upload.token)


def _client_and_arguments(client: Any, s3_arguments: Mapping[str, Any]) -> tuple[Any, Arguments]:
    s3 = chosen_for_segments(client)
    watch(s3)
    return s3, Arguments(s3.meta.service_model, s3_arguments)


def _check_number(name: str, value: int, least: int, most: int) -> None:
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"{name}={value!r} is out of its limits: {least} to {most}")


def as_bytes(name: str, given: Any) -> bytes:
    """A header, separator or footer as ``bytes``. TypeError if it is no buffer."""
    if not isinstance(given, (bytes, bytearray, memoryview)):
        raise TypeError(f"{name} must be bytes, not {type(given).__name__}")
    return bytes(given)


def steady_parts(parts: int) -> int:
    """With an ``expected_size``: how many of a segment's parts have one size."""
    return 3 * parts // 4


def first_part_size(part_size: int, expected_size: int | None, segments: int) -> int:
    """Bytes in the first part of a segment. The segment's steady parts then hold an even share of ``expected_size``.

    ValueError if even the largest parts can't hold that share.
    """
    make_plan(part_size=part_size, max_concurrency=1, expected_size=expected_size)
    parts = NUMBERS // segments - 1
    share = -(-(expected_size or 0) // segments)
    if share > parts * MAX_PART_BYTES:
        raise ValueError(
            f"expected_size={expected_size} does not fit into {segments} segments, each of which has {parts} of S3's "
            "part numbers: make fewer of them"
        )
    least = -(-share // (max(1, steady_parts(parts)) * MIB)) * MIB
    return max(part_size, min(least, MAX_PART_BYTES))
