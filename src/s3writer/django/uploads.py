"""Files of a form go to S3 while the browser sends them. A view publishes them; the others are removed.

```python
FILE_UPLOAD_HANDLERS = ["s3writer.django.uploads.S3UploadHandler"]
```

Each file is *prepared* when its last byte has come: S3 has all parts, and shows no object. The view calls
`S3UploadedFile.commit`. Django closes all files of a request at its end; closing removes what nobody has committed.

The handler runs Django's parser itself. So it sees each way in which parsing can fail. And it notices if the client
went away: Django's parser takes the end of a cut connection for the end of the form.
"""

import io
import uuid
import weakref
from collections.abc import Callable
from itertools import chain
from typing import Any, NoReturn

from django.core.exceptions import ImproperlyConfigured, RequestDataTooBig
from django.core.files.uploadedfile import UploadedFile
from django.core.files.uploadhandler import FileUploadHandler, StopFutureHandlers
from django.db import transaction
from django.http.multipartparser import MultiPartParser, MultiPartParserError
from django.utils.asyncio import async_unsafe
from django.utils.module_loading import import_string

from s3writer import MultipartUploadWriter, PendingUpload, UploadResult
from s3writer._s3.client import chosen
from s3writer.django.options import check_of_handler, upload_options
from s3writer.django.prepared import Prepared, failure_logged

__all__ = ["S3UploadHandler", "S3UploadedFile"]

#: Many requests at once should not each take what one export may take.
_DEFAULTS: dict[str, Any] = {"prefix": "uploads/", "max_memory": 32 * 1024**2}

_refuse_in_coroutines: Callable[[], None] = async_unsafe(
    "A commit waits for S3: call it in an ordinary view, or with sync_to_async."
)(lambda: None)


class S3UploadHandler(FileUploadHandler):
    """Sends each file of a form to S3 while it arrives. ``request.FILES`` then holds an `S3UploadedFile` for each.

    Parameters:
        request: the request. Django gives it if the handler stands in ``FILE_UPLOAD_HANDLERS``.
        **options: they override those in ``S3WRITER["uploads"]``, which override those in ``S3WRITER``. The handler
            takes the following ones, and `MultipartUploadWriter` all others:

            - ``bucket``: must be given here or in the settings. It is a name, or a function that gets the handler and
              returns a name.
            - ``prefix``: ``"uploads/"`` by default.
            - ``key``: a function, or the dotted path of one. It gets the handler, and returns the key, or None to leave
              the file to the next handler. Without ``key``, the key is the prefix and a random UUID.
            - ``arguments``: a function, or the dotted path of one. It gets the handler, and returns a dict of options
              for this file's writer, such as ``{"ContentType": "image/png"}``, or None.
            - ``max_size``: bytes that one file may have. A larger one ends the request with status 400.

    The functions find ``request``, ``field_name``, ``file_name``, ``content_type`` and ``charset`` on the handler. The
    browser says all but the first: don't trust them.
    """

    def __init__(self, request: Any, **options: Any) -> None:
        super().__init__(request)
        self.options = _DEFAULTS | upload_options(**options)
        self._is_parsing = False
        self._writer: MultipartUploadWriter | None = None
        #: What a commit needs beside the `PendingUpload`.
        self._secrets: dict[str, Any] = {}
        #: The length of a body that is one file, if it is known.
        self._length: int | None = None

    def handle_raw_input(
        self, input_data: Any, meta: Any, content_length: int, boundary: bytes | None, encoding: str | None = None
    ) -> Any:
        """Parse the whole form. If that fails, or if the client has gone away, nothing is left in S3."""
        self._length = None if boundary else content_length or None
        if self._is_parsing or not boundary:
            return None  # the parser below asks all handlers again; without a boundary there is no form
        handlers = getattr(self.request, "upload_handlers", ())
        if self not in handlers:
            raise ImproperlyConfigured("S3UploadHandler must be one of its request's upload_handlers to parse a form")
        self._is_parsing = True
        body = _Body(input_data, content_length)
        try:
            post, files = MultiPartParser(meta, body, handlers, encoding).parse()
        finally:
            self._is_parsing = False
            self._drop()
        if body.was_cut:
            for file in chain.from_iterable(each for _, each in files.lists()):
                file.close()
            raise MultiPartParserError(f"the connection ended after {body.size} of {content_length} bytes")
        return post, files

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        """Begin to write an object, unless the key is None."""
        super().new_file(*args, **kwargs)
        self._drop()
        writing = dict(self.options)
        bucket, prefix = writing.pop("bucket", None), writing.pop("prefix")
        writing.pop("max_size", None)
        if bucket is None:
            raise ImproperlyConfigured("S3UploadHandler needs a bucket, such as S3WRITER = {'uploads': {'bucket': …}}")
        choose, describe = (_function(writing.pop(name, None)) for name in ("key", "arguments"))
        key = f"{prefix}{uuid.uuid4()}" if choose is None else choose(self)
        if key is None:
            return
        if callable(bucket):
            bucket = bucket(self)
        if describe is not None:
            described = describe(self) or {}
            check_of_handler(described)
            writing |= described
        self._secrets = {name: value for name, value in writing.items() if name.startswith("SSECustomer")}
        # The writer gets None if no client was given: with the default client, checksum="auto" is never None.
        self._secrets["client"] = chosen(writing.get("client"))
        self._writer = MultipartUploadWriter(bucket, key, encoding=None, **writing)
        raise StopFutureHandlers

    def receive_data_chunk(self, raw_data: bytes, start: int) -> bytes | None:
        """Write a piece. RequestDataTooBig if the file gets larger than ``max_size``."""
        if self._writer is None:
            return raw_data
        most = self.options.get("max_size")
        if most is not None and start + len(raw_data) > most:
            raise RequestDataTooBig(f"{self.file_name} is larger than {most} bytes, the max_size of S3UploadHandler")
        self._writer.write(raw_data)
        return None

    def file_complete(self, file_size: int) -> "S3UploadedFile | None":
        """Wait until S3 has all parts. If the client has gone away, nothing is left in S3."""
        if self._writer is None:
            return None
        if self._writer.tell() != file_size:  # another handler has skipped this file, and the size is the next one's
            self._drop()
            return None
        if self._length not in (None, file_size):
            self._drop()
            raise MultiPartParserError(f"the connection ended after {file_size} of {self._length} bytes")
        writer, self._writer = self._writer, None
        prepared = Prepared(self._secrets)
        prepared.by(writer)
        return S3UploadedFile(
            prepared,
            self.file_name,
            field_name=self.field_name,
            content_type=self.content_type,
            charset=self.charset,
            content_type_extra=self.content_type_extra,
        )

    def upload_interrupted(self) -> None:
        """Forget a file whose end did not come."""
        self._drop()

    def _drop(self) -> None:
        """Remove an upload that was not prepared."""
        writer, self._writer = self._writer, None
        if writer is not None:
            with failure_logged():
                writer.abort()


class S3UploadedFile(UploadedFile):
    """A file that a form has sent. S3 has all its bytes, and shows no object until `commit`.

    It can't be read. It has these attributes, and ``name``, ``size``, ``content_type`` and ``charset`` as each of
    Django's uploaded files:

    - ``bucket`` and ``key`` name the object.
    - ``pending`` is the `PendingUpload`.
    - ``result`` is the `UploadResult` once the object is published; None before.
    """

    def __init__(
        self,
        prepared: Prepared,
        name: str,
        *,
        field_name: str,
        content_type: str,
        charset: str | None,
        content_type_extra: Any,
    ) -> None:
        self._prepared = prepared
        #: The commits that wait for a transaction. If a savepoint is rolled back, Django drops some of them.
        self._waiting: tuple[weakref.ref[_OnCommit], ...] = ()
        self.pending = prepared.upload
        self.bucket, self.key = self.pending.bucket, self.pending.key
        self.field_name = field_name
        unread = _Unreadable(name, f"s3://{self.bucket}/{self.key}")
        super().__init__(unread, name, content_type, self.pending.size, charset, content_type_extra)

    @property
    def result(self) -> UploadResult | None:
        """What the commit has returned; None before."""
        return self.pending.result

    def commit(self, using: str | None = None) -> UploadResult | None:
        """Publish the object once the transaction is committed: ``transaction.on_commit`` calls `commit_now`.

        Outside a transaction, publish at once. Returns the result, or None if a transaction is running. If that is
        rolled back, nothing is published. ``using`` is the alias of the database. Raises as `commit_now` does.
        """
        _refuse_in_coroutines()
        later, before = _OnCommit(self), self._waiting
        self._waiting += (weakref.ref(later),)
        connection = transaction.get_connection(using)
        has_none = connection.connection is None and not connection.in_atomic_block
        if has_none and connection.settings_dict["AUTOCOMMIT"]:
            later()  # there is no transaction, and on_commit would connect to the database
        else:
            try:
                transaction.on_commit(later, using=using)
            except Exception:
                self._waiting = before  # the traceback keeps it alive, but nothing calls it
                raise
        return later.result  # an attribute: a call could be interrupted, and hide that the object is published

    def commit_now(self) -> UploadResult:
        """Publish the object, whatever becomes of a transaction. Returns the result.

        Raises SynchronousOnlyOperation in a coroutine, since it waits for S3.
        Raises as `PendingUpload.commit` does, and ``AbortedError`` after the end of the request. After
        `OutcomeUnknownError`, the request's end leaves the upload alone: S3 may still publish the object.
        """
        _refuse_in_coroutines()
        return self._prepared.commit()

    def detach(self) -> PendingUpload:
        """Return the `PendingUpload`, for somebody else to commit or abort. The request's end leaves it alone."""
        self._prepared.is_over = True
        return self.pending

    def __copy__(self) -> "S3UploadedFile":
        """The file itself: there is one upload."""
        return self

    def __deepcopy__(self, _: Any) -> "S3UploadedFile":
        """The file itself: there is one upload."""
        return self

    def open(self, *_: Any, **__: Any) -> None:
        """Raise io.UnsupportedOperation: the file can't be read, since its bytes are in S3."""
        self.file.seek()

    def close(self) -> None:
        """Remove the upload, unless it is published, detached, or waits for a transaction to commit.

        Django calls this at the end of the request. If the upload could not be removed, a warning in the log says so.
        """
        self.file.close()
        if not self._waits():
            self._prepared.remove()

    def _waits(self, but_for: "_OnCommit | None" = None) -> bool:
        """Whether a transaction is to publish the object, by another commit than ``but_for``."""
        return any(later() not in (None, but_for) for later in self._waiting)


class _OnCommit:
    """Waits in a connection's list for the commit of a transaction. If that is rolled back, Django drops it unused."""

    #: What the commit has returned.
    result: UploadResult | None = None

    def __init__(self, file: S3UploadedFile) -> None:
        self._file = file

    def __call__(self) -> None:
        self._file._waiting = ()  # if the commit fails, its traceback keeps this object alive
        self.result = self._file.commit_now()

    def __del__(self) -> None:
        file = getattr(self, "_file", None)  # None if an interrupt has kept it from being made
        # The request may have ended before the transaction, as it does in a TestCase.
        if file is not None and file.closed and not file._waits(but_for=self):
            file._prepared.remove_elsewhere()


class _Body:
    """The body of a request. It notices if that ends too early."""

    def __init__(self, stream: Any, length: int) -> None:
        self.size = 0
        self._of_django = stream
        self._length = length
        self._has_ended = False

    @property
    def was_cut(self) -> bool:
        return self._has_ended and self.size < self._length

    def read(self, *args: Any) -> bytes:
        piece: bytes = self._of_django.read(*args)
        self.size += len(piece)
        self._has_ended |= not piece
        return piece

    def __getattr__(self, name: str) -> Any:
        """Other handlers look for ``seek`` and ``_stream``."""
        return getattr(self._of_django, name)


class _Unreadable(io.RawIOBase):
    """What an `S3UploadedFile` reads from: says what to do instead."""

    def __init__(self, name: str, url: str) -> None:
        self._message = (
            f"{name} can't be read: its bytes went to S3 when they arrived, and will be {url}. Call commit(), and put "
            "the key into your model. Or give this view another upload handler"
        )

    def readinto(self, _buffer: Any, /) -> NoReturn:
        raise io.UnsupportedOperation(self._message)

    def seek(self, *_: Any) -> NoReturn:
        raise io.UnsupportedOperation(self._message)

    tell = seek


def _function(given: Any) -> Any:
    return import_string(given) if isinstance(given, str) else given
