"""The file system: s3fs's, with writers for what it opens for writing."""

import asyncio
import io
import mimetypes
import os
import threading
from pathlib import Path
from typing import Any

from fsspec.callbacks import DEFAULT_CALLBACK
from fsspec.core import get_compression
from s3fs import S3FileSystem

from s3writer._file import compression as stages
from s3writer._file.stream import compressing
from s3writer._s3 import client as clients
from s3writer._s3.checksums import best
from s3writer._s3.operations import ON_OBJECTS
from s3writer.fsspec.files import DeferredFile, PublishedFile
from s3writer.fsspec.together import TogetherTransaction

#: What s3fs passes to ``open``, and has no meaning for a writer.
_OF_READERS = {"block_size", "cache_options", "cache_type", "fill_cache", "size", "version_id"}
#: The names of s3fs's options, and those of boto3's client.
_CREDENTIALS = {"key": "aws_access_key_id", "secret": "aws_secret_access_key", "token": "aws_session_token"}
#: Settings that only aiobotocore's Config takes.
_AIO_SETTINGS = {"connector_args", "http_session_cls"}
_CHUNK_BYTES = 1024 * 1024


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
        self._has_foreign_session = self.session is not None
        self.writer = dict(writer or {})
        self._lock = threading.Lock()
        self._made: tuple[int, Any] = (0, None)

    def open(
        self,
        path: str,
        mode: str = "rb",
        block_size: int | None = None,
        cache_options: dict[str, Any] | None = None,
        compression: str | None = None,
        **options: Any,
    ) -> Any:
        """Open ``path``, as fsspec does. With a compression, closing the file publishes it, too.

        Raises io.UnsupportedOperation for modes that append or update: an object is written as a whole.
        """
        given = {"block_size": block_size, "cache_options": cache_options}
        if "r" in mode and "+" not in mode:
            return super().open(path, mode, compression=compression, **given, **options)
        if "a" in mode or "+" in mode:
            raise io.UnsupportedOperation(
                f"mode={mode!r} can't be had for {path}: s3w writes whole objects, and does not append to them"
            )
        name = get_compression(path, compression)
        name = "xz" if name == "lzma" else name
        if name is None or "b" not in mode:
            return super().open(path, mode, compression=compression, **given, **options)
        if name not in stages.FORMATS:
            raise ValueError(
                f"compression={name!r} is not one of {', '.join(stages.FORMATS)}: write what is compressed"
            )
        stage = stages.Compression(stages.compressor(name))
        return compressing(super().open(path, mode, **given, **options), stage)

    def _open(self, path: str, mode: str = "rb", autocommit: bool = True, **options: Any) -> Any:
        """Open a binary file; `open` calls it. Within a transaction ``autocommit`` is false."""
        if mode == "rb":
            return super()._open(path, mode, autocommit=autocommit, **options)
        bucket, key, _ = self.split_path(path)
        if not key:
            raise ValueError(f"{path!r} names no object: s3w://bucket/key does")
        given = {name: value for name, value in options.items() if name not in _OF_READERS}
        file = (PublishedFile if autocommit else DeferredFile)(
            path, bucket, key, lambda: self.invalidate_cache(path), **self._options(mode, given)
        )
        if "x" in mode:
            file.check_absence()
        return file

    def _options(self, mode: str, given: dict[str, Any]) -> dict[str, Any]:
        """The writer's options: those of the file system, and then those of one file."""
        if self.anon:
            raise ValueError("anon=True can't write: give credentials to s3w, or let it find some")
        own_client = given.get("client") or self.writer.get("client")
        client = own_client or self._client()
        payer, acl = given.pop("requester_pays", None), given.pop("acl", None)
        chosen: dict[str, Any] = {"encoding": None, "client": client}
        if client is not None and own_client is None and not self._wants_no_checksums():
            chosen["checksum"] = best().name
        model = (client or clients.chosen(None)).meta.service_model
        writing = (model.operation_model(each.name).input_shape.members for each in ON_OBJECTS if each.writes)
        known = set().union(*writing)
        chosen |= {name: value for name, value in self.s3_additional_kwargs.items() if name in known}
        if acl := acl or self.s3_additional_kwargs.get("acl"):
            chosen["ACL"] = acl
        if payer is None:
            chosen |= self.req_kw
        elif payer:
            chosen["RequestPayer"] = "requester"
        chosen |= self.writer | given
        return {**chosen, "exclusive": "x" in mode or chosen.get("exclusive", False)}

    def _wants_no_checksums(self) -> bool:
        return bool(self.config_kwargs.get("request_checksum_calculation") == "when_required")

    def _client(self) -> Any:
        """A boto3 client with the options that s3fs was given, once in each process. None if it was given none: then
        the writers use the client that all writers share.
        """
        named = {"endpoint_url": self.endpoint_url}
        named |= {ours: getattr(self, theirs) for theirs, ours in _CREDENTIALS.items()}
        given = {name: value for name, value in named.items() if value is not None}
        if self._has_foreign_session:
            raise ValueError("s3w can't write with an aiobotocore session: give writer={'client': boto3.client('s3')}")
        if not (given or self.client_kwargs or self.config_kwargs or self.kwargs) and self.use_ssl:
            return None
        with self._lock:
            process, client = self._made
            if process != os.getpid():
                client = self._new_client(given)
                self._made = os.getpid(), client
        return client

    def _new_client(self, given: dict[str, Any]) -> Any:
        import boto3
        from botocore.session import Session

        session = boto3.session.Session(botocore_session=Session(**self.kwargs))
        config = {name: value for name, value in self.config_kwargs.items() if name not in _AIO_SETTINGS}
        return clients.tuned(session, config, **{"use_ssl": self.use_ssl, **self.client_kwargs, **given})

    async def _pipe_file(self, path: str, data: bytes, mode: str = "overwrite", **options: Any) -> Any:
        """s3fs's, but within a transaction a file of the transaction."""
        if not self._intrans:
            return await super()._pipe_file(path, data, mode=mode, **options)
        return await asyncio.to_thread(self._write_all, path, io.BytesIO(data), mode, _of_s3(options))

    async def _put_file(
        self, lpath: str, rpath: str, callback: Any = DEFAULT_CALLBACK, mode: str = "overwrite", **options: Any
    ) -> None:
        """s3fs's, but within a transaction a file of the transaction."""
        source = Path(lpath)
        if not self._intrans or source.is_dir():
            await super()._put_file(lpath, rpath, callback=callback, mode=mode, **options)
            return
        kind, _ = mimetypes.guess_type(lpath)
        given = {"ContentType": kind} if kind else {}
        callback.set_size(source.stat().st_size)
        with source.open("rb") as file:
            await asyncio.to_thread(self._write_all, rpath, file, mode, given | _of_s3(options), callback)

    def _write_all(
        self, path: str, source: Any, mode: str, options: dict[str, Any], callback: Any = DEFAULT_CALLBACK
    ) -> None:
        with self.open(path, "xb" if mode == "create" else "wb", **options) as stream:
            while chunk := source.read(_CHUNK_BYTES):
                stream.write(chunk)
                callback.relative_update(len(chunk))


def _of_s3(options: dict[str, Any]) -> dict[str, Any]:
    """``options`` without those of s3fs's own uploads."""
    return {name: value for name, value in options.items() if name not in ("chunksize", "max_concurrency")}
