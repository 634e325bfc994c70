"""An upload whose parts come from the writers of its segments, as the driver begins it and commits it."""

import dataclasses
import json
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from s3writer._errors import NotCommittedError, S3WriterError, add_note
from s3writer._s3.arguments import Arguments, check_address
from s3writer._s3.calls import Store, says_gone
from s3writer._s3.checksums import best, named
from s3writer._upload.lifecycle import Receipt, UploadResult
from s3writer._upload.plan import MAX_PART_BYTES, MIB, MIN_PART_BYTES, make_plan
from s3writer.pending import PendingUpload, check_customer_key
from s3writer.segments.joints import Glue
from s3writer.segments.part_numbers import MAX_SEGMENTS, NUMBERS
from s3writer.segments.segment import Segment, SegmentReceipt, SegmentStore, chosen_for_segments


@dataclass(frozen=True)
class SegmentedUpload:
    """An upload whose parts come from the writers of its segments. Plain data: it pickles, goes to JSON and back, and
    holds no secret.

    Until it is committed or aborted S3 stores and bills its parts, unseen.

    Attributes:
        bucket: where the object will be.
        key: its name there.
        upload_id: S3's name for the upload.
        segments: how many there are; S3's part numbers are divided among them evenly.
        part_size: bytes in a segment's first part; later ones grow.
        expected_size: bytes of the whole object, None if nobody knows.
        checksum: the name of the CRC of the whole object, or None.
        token: what the object will have as ``s3writer-token`` in its metadata, or None.
        exclusive: publish only if the key does not exist.
        s3_arguments: those that parts and the commit need, without the key of SSE-C.

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
        checksum: str | None = "auto",
        exclusive: bool = False,
        commit_token: bool = True,
        **s3_arguments: Any,
    ) -> "SegmentedUpload":
        """Begin an upload in S3.

        Parameters:
            segments: 1 to 4,999.
            client: a boto3 S3 client with ``request_checksum_calculation="when_required"``; None: the one that writers
                share.
            part_size: bytes, 5 MiB to 5 GiB, in each segment's first part.
            expected_size: bytes of the whole object; makes three quarters of a segment's parts of one size, which does
                for an even share. Without it parts grow, and an object of 7 TiB fits if its segments are of one size.
            checksum: "auto", "CRC64NVME", "CRC32C", "CRC32", or None, which also leaves out the MD5 of each part.
            exclusive, commit_token, **s3_arguments: as for a `MultipartUploadWriter`.

        Raises TypeError or ValueError for an impossible parameter, before S3 is asked; `NotCommittedError` if S3
        refuses.

        """
        _check_number("segments", segments, 1, MAX_SEGMENTS)
        check_address(bucket, key)
        s3, arguments = _client_and_arguments(client, s3_arguments)
        algorithm = best() if checksum == "auto" else None if checksum is None else named(checksum)
        if algorithm and not algorithm.crc:
            raise ValueError(f"checksum={checksum!r} can't be combined from parts: take one of the CRCs")
        token = uuid.uuid4().hex if commit_token else None
        store = Store(s3, bucket, key, arguments=arguments, exclusive=exclusive, token=token)
        settled: dict[str, Any] = {
            "segments": segments,
            "part_size": first_part_size(part_size, expected_size, segments),
            "expected_size": expected_size,
            "checksum": algorithm.name if algorithm else None,
            "token": token,
            "exclusive": exclusive,
            "s3_arguments": arguments.for_commit(),
        }
        upload_id = None
        try:
            upload_id = store.create()
            return cls(bucket, key, upload_id, **settled)
        except S3WriterError:
            raise
        except BaseException as interrupt:
            left = f"upload {upload_id} of {store.url} has begun: abort it" if upload_id else store.lost_upload
            add_note(interrupt, left)
            raise

    def segment(self, number: int) -> Segment:
        """Where segment ``number``, counted from 0, goes; ValueError if there is none of that number."""
        _check_number("number", number, 0, self.segments - 1)
        return self._segment(number, 1 + number * self._share, self._share)

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
        **s3_arguments: Any,
    ) -> UploadResult:
        """Send what lies between the segments' own parts, and publish the object; what was published.

        Parameters:
            receipts: those of all segments, in any order.
            client: as in `begin`.
            header, footer: what stands before and behind all segments, as it is to be in the object: compressed, if the
                segments are.
            separator: what stands between two segments that are not empty.
            **s3_arguments: S3's own. ``SSECustomerKey`` must be given again if there is one.

        Raises ValueError (TypeError) if a receipt is missing, double, or of another upload, or if a parameter is
        impossible; `S3WriterError` if the upload was committed before; and what `PendingUpload.commit` raises. The
        upload is left as it was then.

        """
        header, separator, footer = (
            as_bytes(name, given) for name, given in (("header", header), ("separator", separator), ("footer", footer))
        )
        ordered = self._in_order(receipts)
        check_customer_key(self.key, self.s3_arguments, s3_arguments)
        store = self._store(client, s3_arguments)
        try:
            with Glue(store, self.upload_id, separator) as glue:
                glue.add(header)
                for receipt in ordered:
                    glue.take(receipt)
                glue.add(footer)
                parts = glue.finish()
        except NotCommittedError as error:
            raise (store.gone(self.upload_id) if says_gone(error) else error) from error.__cause__
        pending = self._pending(parts)
        return pending._commit(pending._checked(client, s3_arguments), glue.checksum)

    def abort(self, *, client: Any = None, **s3_arguments: Any) -> bool:
        """Remove the upload from S3, as `PendingUpload.abort` does. Segments that are being written fail."""
        return self._pending(()).abort(client=client, **s3_arguments)

    def to_json(self) -> str:
        """All of it as a JSON object, for `from_json`."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> "SegmentedUpload":
        """What `to_json` has made; else ValueError."""
        try:
            upload = cls(**json.loads(text))
            check_address(upload.bucket, upload.key)
            _check_number("segments", upload.segments, 1, MAX_SEGMENTS)
            if not isinstance(upload.upload_id, str):
                raise ValueError(f"{upload.upload_id!r} is no upload_id")
            return upload
        except (TypeError, ValueError) as error:
            raise ValueError(f"this is no SegmentedUpload: {error}") from error

    def _segment(self, number: int, first: int, share: int) -> Segment:
        """The segment that has ``share`` part numbers from ``first`` on."""
        return Segment(
            self.bucket,
            self.key,
            self.upload_id,
            number,
            first,
            share - 1,
            self.part_size,
            0 if self.expected_size is None else steady_parts(share - 1),
            self.checksum,
            self.s3_arguments,
        )

    def _pending(self, parts: Iterable[Receipt]) -> PendingUpload:
        plain = tuple(dataclasses.replace(part, checksums={}) for part in parts)
        return PendingUpload(
            self.bucket,
            self.key,
            self.upload_id,
            sum(part.size for part in plain),
            plain,
            None,
            self.token,
            self.exclusive,
            self.s3_arguments,
        )

    def _store(self, client: Any, s3_arguments: Mapping[str, Any]) -> SegmentStore:
        s3, arguments = _client_and_arguments(client, {**self.s3_arguments, **s3_arguments})
        arguments.refuse_late_ones()
        algorithm = named(self.checksum) if self.checksum else None
        return SegmentStore(s3, self.bucket, self.key, arguments=arguments, algorithm=algorithm, token=self.token)

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


def _client_and_arguments(client: Any, s3_arguments: Mapping[str, Any]) -> tuple[Any, Arguments]:
    s3 = chosen_for_segments(client)
    return s3, Arguments(s3.meta.service_model, s3_arguments)


def _check_number(name: str, value: int, least: int, most: int) -> None:
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"{name}={value!r} is out of its limits: {least} to {most}")


def as_bytes(name: str, given: Any) -> bytes:
    """What stands before, between or behind segments; TypeError if it is no buffer."""
    if not isinstance(given, (bytes, bytearray, memoryview)):
        raise TypeError(f"{name} must be bytes, not {type(given).__name__}")
    return bytes(given)


def steady_parts(parts: int) -> int:
    """How many of a segment's parts are of one size, if it is known how long the object will be."""
    return 3 * parts // 4


def first_part_size(part_size: int, expected_size: int | None, segments: int) -> int:
    """Bytes in the first part of a segment, so that the steady ones hold its even share of ``expected_size``.

    ValueError if all of its parts can't hold that.
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
