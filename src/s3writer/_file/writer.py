"""MultipartUploadWriter: an ordinary file whose bytes become one S3 object, wholly or not at all."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, Self, TypeVar, Unpack, cast

from s3writer._file.stream import UploadStream
from s3writer._s3.receipts import UploadResult
from s3writer._upload.lifecycle import State
from s3writer._upload.part import Part
from s3writer._upload.plan import DEFAULT_CONCURRENCY, MIN_PART_BYTES
from s3writer._upload.resume import Readable, take_over
from s3writer._upload.settings import new_upload
from s3writer._upload.upload import Upload
from s3writer.options import Checksum, OnError, ResumeOptions, S3Arguments
from s3writer.pending import PendingUpload, pending_of

Init = TypeVar("Init", bound=Callable[..., None])

#: Why a writer has no result.
_NO_RESULT = {
    State.OPEN: "it is not published yet: close the writer first",
    State.COMMITTING: "it is being published",
    State.COMMIT_SENT: "it is being published",
    State.PREPARED: "it was prepared: the result is what PendingUpload.commit returns",
    State.UNKNOWN: "it is not known whether it was published",
}


def _refusing_a_url_alone(init: Init) -> Init:
    """Have the constructor say what to do if it gets a URL, and no key."""

    @functools.wraps(init)
    def checked(*positional: Any, **named: Any) -> None:
        given = positional[1:]
        if len(given) == 1 and "key" not in named and isinstance(given[0], str) and given[0].startswith("s3://"):
            raise TypeError(f"{given[0]!r} is a URL: use s3writer.open(url), or give the bucket and the key")
        init(*positional, **named)

    return cast(Init, checked)


class MultipartUploadWriter(UploadStream):
    """A binary file, write only, whose bytes become the object ``key`` in ``bucket`` when it is closed.

    Nothing is visible in S3 before that. If anything goes wrong, nothing becomes visible: the key stays as it was, and
    the upload is aborted, or kept with ``on_error="keep"``. `close` says which exceptions count.

    Parameters:
        bucket: name or access point ARN.
        key: 1 to 1024 bytes in UTF-8.
        client: a boto3 S3 client; its configuration is respected. None: a client made from the environment, which the
            whole process shares.
        part_size: bytes, 5 MiB (the default) to 5 GiB. An object up to this size is sent in one request when the writer
            is closed. A longer one is sent in parts, in the background, as they fill. If the length of the stream is
            unknown, later parts are larger.
        max_concurrency: the most parts in flight, that is, sent at the same time: 1 to 1000, 20 by default. Each has a
            thread. Fewer parts are in flight if ``max_memory`` can't hold them and the part being filled. Two are in
            flight if two send nearly as much. Without ``max_memory``, 20 become 7 at some 4 GiB.
        max_memory: a hard limit in bytes for all parts together, those in flight and the one being filled. None: 128
            MiB, or two parts of ``part_size`` if that is more. Without a limit, a stream of more than some 74 GiB (with
            the default settings) takes more memory, because S3's limit of 10,000 parts demands larger parts.
        checksum: "auto", "CRC64NVME", "CRC32C" (both need ``s3writer[crt]``), "CRC32", "SHA256", "SHA1" or None.
            "auto" is CRC64NVME if awscrt offers it, else CRC32. It is None if you give a ``client`` that is configured
            with ``request_checksum_calculation="when_required"``.
        exclusive: publish only if the key does not exist; S3 decides, at the moment of publishing.
        expected_size: bytes, 0 to 48.8 TiB. With this hint all parts have one size, which is large enough for the
            stream. If the stream turns out longer, later parts are larger.
        exact_size: bytes, 0 to 48.8 TiB: publish only if exactly so many were written, else raise `IncompleteError`.
            Set it where the length is known, as from HTTP's Content-Length: some producers end early without an
            exception. With a compression, it counts uncompressed bytes. It implies ``expected_size``.
        equal_parts: give all parts but the last the size ``part_size``, as some S3-compatible stores demand.
        encoding: how ``write`` encodes ``str``; None refuses ``str``.
        progress: called with the number of bytes each time S3 acknowledges more of them, by the thread that writes or
            closes. If it raises, the upload is aborted; if the object is published by then, the exception is logged.
        on_error: when anything goes wrong, "abort" removes the upload from S3. "keep" leaves its parts there, stored
            and billed, for `resume`; errors and the log then name the upload.
        commit_token: put a random token into the object's metadata, as ``s3writer-token``. If S3's answer to the commit
            is lost, the token proves that the object under the key is this writer's.
        allow_dot_segments: let ``key`` have a segment "." or "..". S3 takes such a key, but HTTP proxies and some
            libraries fold it: ``a/../b`` becomes ``b``, and that object is overwritten.
        **s3_arguments: S3's own, such as ``ContentType``, ``Metadata``, ``SSECustomerKey`` or ``IfMatch``. Each goes
            to every call that takes it.

    Raises:
        TypeError, ValueError: a parameter is impossible; the message names it and its limits. S3 is not asked.

    It is safe to write from several threads: each ``write`` goes in as one piece. (On a free-threaded build of Python,
    and under a tracer such as a debugger, use a lock of your own.)

    """

    @_refusing_a_url_alone
    def __init__(
        self,
        bucket: str,
        key: str,
        *,
        client: Any = None,
        part_size: int = MIN_PART_BYTES,
        max_concurrency: int = DEFAULT_CONCURRENCY,
        max_memory: int | None = None,
        checksum: Checksum = "auto",
        exclusive: bool = False,
        expected_size: int | None = None,
        exact_size: int | None = None,
        equal_parts: bool = False,
        encoding: str | None = "utf-8",
        progress: Callable[[int], object] | None = None,
        on_error: OnError = "abort",
        commit_token: bool = True,
        allow_dot_segments: bool = False,
        **s3_arguments: Unpack[S3Arguments],
    ) -> None:
        upload = new_upload(
            bucket,
            key,
            client=client,
            part_size=part_size,
            max_concurrency=max_concurrency,
            max_memory=max_memory,
            checksum=checksum,
            exclusive=exclusive,
            expected_size=expected_size,
            exact_size=exact_size,
            equal_parts=equal_parts,
            progress=progress,
            on_error=on_error,
            commit_token=commit_token,
            allow_dot_segments=allow_dot_segments,
            s3_arguments=s3_arguments,
            own_names=_OWN_NAMES,
        )
        self._write_to(upload, encoding, exact_size)

    @classmethod
    def resume(
        cls,
        bucket: str,
        key: str,
        upload_id: str,
        *,
        verify: Readable | None = None,
        token: str | None = None,
        on_error: OnError = "keep",
        **options: Unpack[ResumeOptions],
    ) -> Self:
        """Continue an upload that another writer left in S3, perhaps in a process that died. Returns the new writer.

        The new writer reuses the upload's parts, up to the first that is missing or smaller than 5 MiB. Write the bytes
        after these parts again: `tell` returns the position from which you must go on.

        Parameters:
            upload_id: S3's id of the upload. A writer with ``on_error="keep"`` names it in its error and in the log.
            verify: a binary file with the stream's first bytes. Each reused part is compared with them. The file is
                read as far as these parts go.
            token: the upload's ``s3writer-token``, if it has one. S3 does not show it before the commit.
            on_error: as for a new writer, but "keep" by default.
            **options: as for a new writer. If S3 tells the upload's checksum algorithm, it replaces ``checksum``.
                Arguments for S3 that were settled when the upload began, such as ``ContentType``, are refused.

        Raises `NotCommittedError` if a part holds other bytes than ``verify`` or can't be verified. Raises
        `S3WriterError` if the upload was published before, and `OutcomeUnknownError` if it is gone and nothing shows
        why. Raises TypeError and ValueError as for a new writer. None of these removes an upload: if it is still in S3,
        it can be resumed again.

        """
        writer = cls(bucket, key, on_error=on_error, commit_token=False, **options)
        upload = writer._upload
        try:
            if not writer._encoding.is_stateless:
                name = options.get("encoding")
                raise ValueError(f"encoding={name!r} keeps a state, which is lost: give encoding=None, and write bytes")
            upload.go_on(upload_id, *take_over(upload.calls, upload_id, token, verify))
        except BaseException:
            writer._mark_closed()
            raise
        return writer

    @property
    def parts_in_flight(self) -> int:
        """How many parts are being sent, or have arrived since the writer's last call."""
        return self._upload.pipeline.jobs.in_flight

    @property
    def result(self) -> UploadResult:
        """What was published. ValueError if nothing was, or nothing yet."""
        if self._upload.result is None:
            why = _NO_RESULT.get(self._upload.lifecycle.state, "it was not published")
            raise ValueError(f"{self._name} has no result: {why}")
        return self._upload.result

    def commit(self) -> UploadResult:
        """Publish what was written, even if an exception is propagating, and close. Returns the result.

        Use it to publish from an ``except`` block. If the writer has published already, it returns the result again.
        Raises as `close` does, and ValueError if the writer was closed without publishing.
        """
        result = self._upload.result
        if result is None:
            self.check_open()
            result = self._finish(self._upload.commit)
        return self.result if result is None else result

    def prepare(self) -> PendingUpload:
        """Send everything and close, but don't publish yet. Any process can commit the `PendingUpload` later.

        Raises as `close` does, and ValueError if the writer is closed.
        """
        self.check_open()
        if (pending := self._finish(functools.partial(prepared, self._upload))) is None:
            raise ValueError(f"{self._name} was closed by another thread")
        return pending

    def abort(self) -> None:
        """Close without publishing, and remove the upload. Does nothing if the writer is closed.

        Raises `NotCommittedError` with the ``upload_id`` if parts may have been left behind in S3.
        """
        if not self.closed:
            self._finish(lambda _: self._upload.abort(), takes_rest=False)


def prepared(upload: Upload, rest: Part) -> PendingUpload:
    """Send ``rest`` as the last part of ``upload``, and leave the upload in S3 for a commit."""
    parts = upload.prepare(rest)
    return pending_of(upload.calls, str(upload.pipeline.upload_id), parts)


_OWN_NAMES = frozenset(inspect.signature(MultipartUploadWriter).parameters)
