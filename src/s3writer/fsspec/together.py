"""fsspec's transaction: the files that were written in it are published together."""

import sys
from collections import deque
from collections.abc import Iterable
from typing import Any

from fsspec.transaction import Transaction

from s3writer._errors import IncompleteError, NotCommittedError, S3WriterError, add_note
from s3writer.fsspec.files import DeferredFile
from s3writer.pending import PartlyCommittedError, commit_all


class TogetherTransaction(Transaction):
    """Publishes all files at its end, one right after the other. If the block raises, it publishes none of them."""

    fs: Any
    files: deque[DeferredFile]

    def complete(self, commit: bool = True) -> None:
        """End the transaction: publish all files, or discard them all.

        Raises `IncompleteError` if a file is still open, or was not written to its end; then all are discarded.
        Raises `PartlyCommittedError` if S3 refuses a file. If it was the first one, all are discarded. If others were
        published before, the refused file and those after it stay in S3: the error has them, to be committed again or
        aborted.
        """
        fs, files = self.fs, [file for file in self.files if not file.was_discarded]
        self.files.clear()
        self.fs = fs._transaction = None
        fs._intrans = False
        if not commit:
            _discard(files)
            return
        try:
            _check(files)
        except Exception:
            _discard(files)
            raise
        try:
            _commit(files)
        except PartlyCommittedError as error:
            if not error.published and isinstance(error.__cause__, NotCommittedError):
                _discard(files)
                add_note(error, "None of the transaction's files was published, and none is left in S3.")
            raise
        finally:
            fs.invalidate_cache()


def _check(files: list[DeferredFile]) -> None:
    for file in files:
        if file.pending is None:
            state = "was not written to its end" if file.closed else "was still open at the end of the transaction"
            raise IncompleteError(
                f"no file of the transaction is published: {file.name} {state}", file.bucket, file.key
            )
    if len({tuple(file.customer_key.values()) for file in files if file.customer_key}) > 1:
        raise ValueError("no file of the transaction is published: they have different SSECustomerKeys")


def _commit(files: list[DeferredFile]) -> None:
    if files:
        keys = [file.customer_key for file in files if file.customer_key]
        commit_all([file.prepare() for file in files], client=files[0].client, **(keys[0] if keys else {}))


def _discard(files: Iterable[DeferredFile]) -> None:
    """Abort all uploads, and then raise the first error. If an exception is propagating, it gets the errors as notes
    instead.
    """
    failures: list[S3WriterError] = []
    for file in files:
        try:
            file.discard()
        except S3WriterError as error:
            failures.append(error)
    if (propagating := sys.exception()) is not None:
        for failure in failures:
            add_note(propagating, str(failure))
    elif failures:
        raise failures[0]
