"""fsspec's transaction: the files that were written in it are published together."""

import io
import os
import sys
import threading
import weakref
from collections import deque
from collections.abc import Iterable
from typing import Any

from fsspec.transaction import Transaction

from s3writer._errors import IncompleteError, NotCommittedError, S3WriterError, add_note
from s3writer._fork import in_each_child
from s3writer.fsspec.files import DeferredFile
from s3writer.pending import PartlyCommittedError, commit_each

#: Held while a transaction begins, ends or gets a file: threads share a file system.
_lock = threading.RLock()
_begun: "weakref.WeakSet[TogetherTransaction]" = weakref.WeakSet()


class TogetherTransaction(Transaction):
    """Publishes all files at its end, one right after the other. If the block raises, it publishes none of them.

    A file system has one transaction at a time. A forked child takes no part in the one of its parent.
    """

    fs: Any
    files: deque[DeferredFile]

    def __init__(self, fs: Any, **options: Any) -> None:
        super().__init__(fs, **options)
        #: Where it was begun.
        self._process = self._thread = 0

    def __enter__(self) -> "TogetherTransaction":
        was_begun = self.is_running
        try:
            self.start()
            return self
        except BaseException:
            if not was_begun and self._thread == threading.get_ident():  # an interrupt
                self.complete(commit=False)
            raise

    @property
    def is_running(self) -> bool:
        """Whether it was begun, and is not over."""
        fs = self.fs
        return fs is not None and fs._intrans and fs._transaction is self

    def start(self) -> None:
        """Begin. RuntimeError if a transaction of the file system is running, or this one is over."""
        with _lock:
            fs = self.fs
            if fs is None:
                raise RuntimeError("this transaction is over: begin a new one with fs.transaction")
            if fs._intrans:
                raise RuntimeError(
                    "a transaction of this file system is running, in this thread or another one: end it before you "
                    "begin the next, or make a file system of your own with skip_instance_cache=True"
                )
            _begun.add(self)
            self._process, self._thread = os.getpid(), threading.get_ident()
            self.files = deque()
            fs._transaction = self
            fs._intrans = True

    def add(self, file: DeferredFile) -> bool:
        """Let ``file`` be published with the others. False if the transaction is over."""
        with _lock:
            if is_running := self.is_running:
                self.files.append(file)
            return is_running

    def complete(self, commit: bool = True) -> None:
        """End the transaction: publish all files, or discard them all. If it is over, do nothing.

        Raises `IncompleteError` if a file is still open, or was not written to its end; then all are discarded.
        Raises `PartlyCommittedError` if S3 refuses a file. If it was the first one, all are discarded. If others were
        published before, the refused file and those after it stay in S3: commit or abort the uploads that the error
        has. Notes on each exception, an interrupt too, name the uploads that may wait in S3.

        In a forked child, raises io.UnsupportedOperation instead of publishing what its parent has written.
        """
        fs, files = self.fs, deque[DeferredFile]()
        if fs is None:
            return
        try:
            with _lock:
                # There is no call between these lines, so no interrupt either.
                if fs._transaction is self:
                    fs._intrans = False
                    fs._transaction = None
                self.fs = None
                files, self.files = self.files, files
            counting = [file for file in files if not file.was_discarded]
            if self._process not in (0, os.getpid()):
                if commit and counting:
                    raise io.UnsupportedOperation(
                        f"the transaction was begun in process {self._process}; only that process can publish its files"
                    )
            elif commit:
                _publish(counting)
            else:
                _discard(counting)
        except BaseException as error:
            for file in files:
                if left := file.left:
                    add_note(error, left)
                    file.is_told = True
            raise
        finally:
            fs.invalidate_cache()


def transaction_of(fs: Any) -> TogetherTransaction:
    """The transaction of ``fs`` that is running, or one that is not begun."""
    with _lock:
        if fs._transaction is None:
            fs._transaction = fs.transaction_type(fs)
        transaction: TogetherTransaction = fs._transaction
        return transaction


def running_transaction_of(fs: Any) -> TogetherTransaction | None:
    """The transaction of ``fs`` that is running, if there is one."""
    with _lock:
        transaction: TogetherTransaction | None = fs._transaction
        return transaction if fs._intrans else None


def _publish(files: list[DeferredFile]) -> None:
    try:
        _check(files)
    except Exception:
        _discard(files)
        raise
    waiting = [file for file in files if file.left]
    try:
        commit_each([(file.prepare(), file.calls) for file in waiting])
    except PartlyCommittedError as error:
        is_none_published = not error.published and len(waiting) == len(files)
        if is_none_published and isinstance(error.__cause__, NotCommittedError):
            add_note(error, "None of the transaction's files was published.")
            _discard(files)
        raise


def _check(files: Iterable[DeferredFile]) -> None:
    for file in files:
        if file.pending is None:
            state = "was not written to its end" if file.closed else "was still open at the end of the transaction"
            raise IncompleteError(
                f"no file of the transaction is published: {file.name} {state}", file.bucket, file.key
            )


def _discard(files: Iterable[DeferredFile]) -> None:
    """Abort all uploads, and then raise the first error. The other errors become its notes. If an exception is
    propagating, it gets all of them as notes instead.
    """
    told, failure = sys.exception(), None
    for file in files:
        try:
            file.discard()
        except S3WriterError as error:
            if told is None:
                told = failure = error
            else:
                add_note(told, str(error))
    if failure is not None:
        raise failure


def _after_fork() -> None:
    """End all transactions in a forked child, without touching their files."""
    global _lock
    _lock = threading.RLock()
    for transaction in _begun:
        if transaction.is_running:
            transaction.fs._transaction = None
            transaction.fs._intrans = False


in_each_child(_after_fork)
