"""fsspec's transaction: the files that were written in it are published together."""

import sys
from collections import deque
from collections.abc import Iterable
from typing import Any

from fsspec.transaction import Transaction

from s3writer._errors import IncompleteError, NotCommittedError, S3WriterError, add_note
from s3writer.fsspec.files import DeferredFile
from s3writer.pending import PartlyCommittedError, commit_each


class TogetherTransaction(Transaction):
    """Publishes all files at its end, one right after the other. If the block raises, it publishes none of them."""

    fs: Any
    files: deque[DeferredFile]

    def complete(self, commit: bool = True) -> None:
        """End the transaction: publish all files, or discard them all.

        Raises `IncompleteError` if a file is still open, or was not written to its end; then all are discarded.
        Raises `PartlyCommittedError` if S3 refuses a file. If it was the first one, all are discarded. If others were
        published before, the refused file and those after it stay in S3: commit or abort the uploads that the error
        has. Notes on each exception, an interrupt too, name the uploads that may wait in S3.
        """
        fs, files = self.fs, [file for file in self.files if not file.was_discarded]
        try:
            self.files.clear()
            self.fs = fs._transaction = None
            fs._intrans = False
            if commit:
                _publish(files)
            else:
                _discard(files)
        except BaseException as error:
            for file in files:
                if left := file.left:
                    add_note(error, left)
                    file.is_told = True
            raise
        finally:
            fs.invalidate_cache()


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
