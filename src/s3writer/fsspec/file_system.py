"""The file system: s3fs's, with writers for what it opens for writing."""

import io
import mimetypes
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from fsspec.asyn import sync
from fsspec.callbacks import DEFAULT_CALLBACK
from fsspec.spec import AbstractFileSystem
from fsspec.utils import infer_compression
from s3fs import S3FileSystem

from s3writer._file import compression as stages
from s3writer._file.open import text_of, wrapped
from s3writer._file.stream import compressing
from s3writer.fsspec.files import DeferredFile, PublishedFile
from s3writer.fsspec.options import writer_options
from s3writer.fsspec.together import TogetherTransaction, running_transaction_of, transaction_of

#: The modes, their letters sorted.
_READING, _WRITING = {"r", "br", "rt"}, {"bw", "bx", "w", "x", "tw", "tx"}
#: The options of s3fs's own uploads.
_OF_S3FS = {"batch_size", "chunksize", "max_concurrency"}
_CHUNK_BYTES = 1024 * 1024

#: Set in the coroutines of a call that began outside of a transaction.
_is_direct: ContextVar[bool] = ContextVar("is_direct", default=False)


class S3WriterFileSystem(S3FileSystem):
    """s3fs's file system, under the protocol ``s3w``. A file that it opens for writing is a `MultipartUploadWriter`.

    Parameters:
        writer: options of `MultipartUploadWriter` for each file that is written, such as ``{"max_memory": 2**28}``.
        **options: those of ``s3fs.S3FileSystem``. The writers' boto3 client is made from the same ``key``, ``secret``,
            ``token``, ``endpoint_url``, ``use_ssl``, ``client_kwargs``, ``config_kwargs`` and ``profile``.

    """

    protocol = "s3w"
    transaction_type = TogetherTransaction

    def __init__(self, *args: Any, writer: dict[str, Any] | None = None, **options: Any) -> None:
        super().__init__(*args, **options)
        self.has_foreign_session = self.session is not None
        self.writer = dict(writer or {})

    def open(
        self,
        path: str,
        mode: str = "rb",
        block_size: int | None = None,
        cache_options: dict[str, Any] | None = None,
        compression: str | None = None,
        **options: Any,
    ) -> Any:
        """Open ``path``, as fsspec does. With a compression, too, closing the file publishes it.

        In text modes the encoding is UTF-8 unless you give another. UTF-16 and UTF-32 begin with a byte order mark.

        Raises io.UnsupportedOperation for modes that append or update: S3 only replaces an object as a whole. Raises
        ValueError for an unknown mode or compression.
        """
        given: dict[str, Any] = {"block_size": block_size, "cache_options": cache_options}
        is_text = "b" not in mode
        if _reads(path, mode):
            if is_text:
                options["encoding"] = options.get("encoding") or "utf-8"
            return super().open(path, "r" if is_text else "rb", compression=compression, **given, **options)
        mode = "xb" if "x" in mode else "wb"
        if is_text:
            text = text_of(*(options.pop(name, None) for name in ("encoding", "errors", "newline")))
            return wrapped(self.open(path, mode, compression=compression, **given, **options), text)
        if compression == "infer":
            compression = stages.promised_by(path) or infer_compression(path)
        name = "xz" if compression == "lzma" else compression
        if name is None:
            return self._writer(path, mode, **options)
        if name not in stages.FORMATS:
            raise ValueError(
                f"compression={name!r} is not one of {', '.join(stages.FORMATS)}: write what is compressed"
            )
        stage = stages.stage(name, (self.writer | options).get("on_error"))
        return compressing(self._writer(path, mode, **options), stage)

    def _writer(self, path: str, mode: str, autocommit: bool | None = None, **options: Any) -> Any:
        """Open a file for writing. It belongs to the transaction that is running, unless ``autocommit`` is true."""
        path = self._strip_protocol(path)
        while True:
            transaction = running_transaction_of(self)
            publishes = transaction is None if autocommit is None else autocommit
            file = self._open(path, mode, autocommit=publishes, **options)
            if publishes or transaction is None or transaction.add(file):
                return file
            file.discard()  # another thread has ended the transaction meanwhile

    def _open(self, path: str, mode: str = "rb", autocommit: bool = True, **options: Any) -> Any:
        """Open a binary file; `open` calls it. Within a transaction ``autocommit`` is false. Raises as `open` does."""
        if _reads(path, mode):
            return super()._open(path, "rb", autocommit=autocommit, **options)
        bucket, key, _ = self.split_path(path)
        if not key:
            raise ValueError(f"{path!r} names no object: s3w://bucket/key does")
        if "?versionId=" in path:  # s3fs drops it from the key
            raise ValueError(f"{path!r} names a version, which can't be overwritten: leave out ?versionId=")
        file = (PublishedFile if autocommit else DeferredFile)(
            path, bucket, key, lambda: self.invalidate_cache(path), **writer_options(self, mode, options)
        )
        if "x" in mode:
            file.check_absence()
        return file

    @property
    def transaction(self) -> TogetherTransaction:
        """The transaction, which all threads share. ``with fs.transaction:`` begins and ends it."""
        return transaction_of(self)

    def start_transaction(self) -> TogetherTransaction:
        """Begin a transaction without a block: `end_transaction` publishes its files. RuntimeError if one is
        running.
        """
        transaction = self.transaction
        transaction.start()
        return transaction

    def end_transaction(self) -> None:
        """Publish the files of the transaction that is running. Raises as `TogetherTransaction.complete` does."""
        self.transaction.complete()

    def pipe(self, *arguments: Any, **options: Any) -> Any:
        """Do what s3fs does. Within a transaction, this thread writes each file, as a file of the transaction."""
        return self._call("pipe", arguments, options)

    def put(self, *arguments: Any, **options: Any) -> Any:
        """Do what s3fs does. Within a transaction, this thread writes each file, as a file of the transaction."""
        return self._call("put", arguments, options)

    def pipe_file(self, path: str, data: bytes | str, mode: str = "overwrite", **options: Any) -> Any:
        """Do what s3fs does. Within a transaction, write a file of the transaction."""
        if not self._intrans:
            return self._directly("_pipe_file", path, data, mode=mode, **options)
        with self.open(path, "xb" if mode == "create" else "wb", **_of_writers(options)) as stream:
            stream.write(data.encode() if isinstance(data, str) else data)
        return None

    def put_file(
        self, lpath: str, rpath: str, callback: Any = DEFAULT_CALLBACK, mode: str = "overwrite", **options: Any
    ) -> None:
        """Do what s3fs does. Within a transaction, write a file of the transaction."""
        source = Path(lpath)
        if not self._intrans or source.is_dir():
            self._directly("_put_file", lpath, rpath, callback=callback, mode=mode, **options)
            return
        given = _of_writers(options)
        kind, _ = mimetypes.guess_type(lpath)
        if kind and "ContentType" not in self.writer:
            given.setdefault("ContentType", kind)
        callback.set_size(source.stat().st_size)
        writing = "xb" if mode == "create" else "wb"
        with source.open("rb") as file, self.open(rpath, writing, **given) as stream:
            while chunk := file.read(_CHUNK_BYTES):
                stream.write(chunk)
                callback.relative_update(len(chunk))

    def _call(self, name: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """s3fs's method ``name``, or within a transaction fsspec's own, which calls `pipe_file` or `put_file`. The
        coroutines would run on after an interrupt, when the transaction is over.
        """
        if self._intrans:
            return getattr(AbstractFileSystem, name)(self, *arguments, **options)
        return self._directly(f"_{name}", *arguments, **options)

    def _directly(self, name: str, *arguments: Any, **options: Any) -> Any:
        """Run the coroutine ``name``. It publishes by itself, even if another thread begins a transaction meanwhile."""

        async def coroutine() -> Any:
            _is_direct.set(True)
            return await getattr(self, name)(*arguments, **options)

        return sync(self.loop, coroutine)

    async def _pipe_file(self, *arguments: Any, **options: Any) -> Any:
        """Do what s3fs does. NotImplementedError within a transaction."""
        self._refuse_in_transaction("pipe_file")
        return await super()._pipe_file(*arguments, **options)

    async def _put_file(self, *arguments: Any, **options: Any) -> Any:
        """Do what s3fs does. NotImplementedError within a transaction."""
        self._refuse_in_transaction("put_file")
        return await super()._put_file(*arguments, **options)

    def _refuse_in_transaction(self, name: str) -> None:
        if self._intrans and not _is_direct.get():
            raise NotImplementedError(f"within a transaction, use {name}, not the coroutine _{name}")


def _reads(path: str, mode: str) -> bool:
    """Whether ``mode`` reads, rather than writes. Raises as `S3WriterFileSystem.open` does for all other modes."""
    letters = "".join(sorted(mode))
    if "a" in letters or "+" in letters:
        raise io.UnsupportedOperation(
            f"mode={mode!r} can't be had for {path}: s3w writes whole objects, and does not append to them"
        )
    if letters not in _READING | _WRITING:
        raise ValueError(
            f"mode={mode!r} is unknown: use 'wb' or 'xb' to write bytes to {path}, 'w' or 'x' to write text, 'rb' or "
            "'r' to read"
        )
    return letters in _READING


def _of_writers(options: dict[str, Any]) -> dict[str, Any]:
    """``options`` without those of s3fs's own uploads."""
    return {name: value for name, value in options.items() if name not in _OF_S3FS}
