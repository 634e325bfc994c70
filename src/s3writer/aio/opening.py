"""`open` and `wrap`: make a writer in a thread, since boto3 takes a while to be imported."""

import asyncio
from asyncio import CancelledError, Future
from collections.abc import Callable, Generator
from functools import partial
from types import TracebackType
from typing import Any, Generic, Literal, TypeVar, Unpack, cast, overload

from s3writer._file import open as files
from s3writer._file.close_rule import CloseRule
from s3writer._file.writer import MultipartUploadWriter
from s3writer.aio.threads import limits, start
from s3writer.aio.turns import PATIENCE_SECONDS
from s3writer.aio.writer import AsyncTextWriter, AsyncWriter
from s3writer.options import Compression, WriterOptions

Stream = TypeVar("Stream", AsyncWriter, AsyncTextWriter)
#: A writer, and in a text mode how to encode.
Made = tuple[MultipartUploadWriter, files.Text | None]


class Opening(Generic[Stream]):
    """What `open` and `wrap` return: a writer that is not made yet. ``async with`` or ``await`` makes it."""

    def __init__(self, begin: Callable[[], Made]) -> None:
        self._begin = begin
        self._stream: Stream | None = None

    def __await__(self) -> Generator[Any, None, Stream]:
        return self._open().__await__()

    async def __aenter__(self) -> Stream:
        self._stream = await self._open()
        return self._stream

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the writer. If the block raised, close it without publishing."""
        assert self._stream is not None
        await self._stream.__aexit__(exc_type, exc, traceback)

    async def _open(self) -> Stream:
        rule = CloseRule()
        unwanted: list[CancelledError] = []

        def make() -> Made:
            made = self._begin()
            if unwanted:
                _give_up(made, unwanted[0])
            return made

        async with limits().openings:
            making = start(make)
            try:
                writer, text = await asyncio.shield(making)
            except CancelledError as cancelled:
                unwanted.append(cancelled)
                making.add_done_callback(partial(_give_up_late, cancelled=cancelled))
                await asyncio.wait([making], timeout=PATIENCE_SECONDS)
                raise
        stream = AsyncWriter(writer, rule) if text is None else AsyncTextWriter(writer, rule, text)
        return cast(Stream, stream)


def _give_up(made: Made, cancelled: CancelledError) -> None:
    """Close the writer without publishing. It is perhaps a resumed upload, which is kept."""
    made[0].__exit__(CancelledError, cancelled, cancelled.__traceback__)


def _give_up_late(making: "Future[Made]", cancelled: CancelledError) -> None:
    """Have a thread give up a writer that was made just before its task was cancelled."""
    if making.exception() is None and not making.result()[0].closed:
        start(partial(_give_up, making.result(), cancelled))


@overload
def open(
    url: str,
    mode: Literal["wb", "xb", "bw", "bx"] = "wb",
    *,
    encoding: Literal["utf-8"] | None = "utf-8",
    compression: Compression = "auto",
    **options: Unpack[WriterOptions],
) -> Opening[AsyncWriter]: ...
@overload
def open(
    url: str,
    mode: Literal["w", "x", "wt", "xt", "tw", "tx"],
    *,
    encoding: str | None = "utf-8",
    errors: str | None = "strict",
    newline: str | None = None,
    compression: Compression = "auto",
    **options: Unpack[WriterOptions],
) -> Opening[AsyncTextWriter]: ...
def open(
    url: str,
    mode: str = "wb",
    *,
    encoding: str | None = "utf-8",
    errors: str | None = None,
    newline: str | None = None,
    compression: Any = "auto",
    **options: Any,
) -> Opening[AsyncWriter] | Opening[AsyncTextWriter]:
    """Open ``s3://bucket/key`` for writing from coroutines: ``async with`` what this returns, or ``await`` it.

    All parameters are those of `s3writer.open`. A binary mode gives an `AsyncWriter`, a text mode an `AsyncTextWriter`.
    If a parameter is impossible, entering or awaiting raises as `s3writer.open` does.
    """
    given: dict[str, Any] = {"encoding": encoding, "errors": errors, "newline": newline, "compression": compression}
    return Opening(lambda: files.begin(url, mode, **given, options=options))


def wrap(make: Callable[[], MultipartUploadWriter]) -> Opening[AsyncWriter]:
    """Make an `AsyncWriter` around the writer that ``make`` returns. ``async with`` or ``await`` the returned value.

    A thread calls ``make``. Use it for what `open` can't do, such as
    ``wrap(lambda: MultipartUploadWriter.resume("bucket", "key", upload_id))``.
    """
    return Opening(lambda: (make(), None))
