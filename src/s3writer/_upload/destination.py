"""The base of what a writer writes to: an upload of its own, or a segment of the driver's upload."""

import io
import os
from typing import Any

from s3writer._errors import aborted_after
from s3writer._s3.calls import Calls
from s3writer._upload.lifecycle import Lifecycle, State
from s3writer._upload.pipeline import Pipeline


class Destination:
    """A pipeline of parts, and a lifecycle. It belongs to the process that made it."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.lifecycle = Lifecycle()
        self.pipeline = pipeline
        self._process = os.getpid()

    @property
    def calls(self) -> Calls:
        """The calls of S3 for the object."""
        return self.pipeline.calls

    @property
    def is_ours(self) -> bool:
        """False in a forked child, which must leave its parent's upload alone."""
        return os.getpid() == self._process

    @property
    def is_open(self) -> bool:
        """Whether this process may still write to it."""
        return self.is_ours and self.lifecycle.state is State.OPEN

    @property
    def has_ended(self) -> bool:
        """Whether a finaliser has nothing to give up: its ending has begun, or another process made it."""
        return not self.is_ours or self.lifecycle.state not in (State.OPEN, State.COMMITTING, State.COMMIT_SENT)

    @property
    def extra(self) -> dict[str, Any]:
        """The ``extra`` of a log record about it."""
        return self.pipeline.facts()

    def check(self) -> None:
        """Raise if nothing more can be written."""
        if not self.is_ours:
            raise io.UnsupportedOperation(
                f"{self.calls.url} was opened in process {self._process}; only that process can write to it"
            )
        state, error = self.lifecycle.state, self.lifecycle.error
        if state is State.OPEN:
            return
        if state is State.UNKNOWN and error is not None:
            raise error
        if state in (State.COMMIT_SENT, State.COMMITTED, State.PREPARED, State.UNKNOWN):
            raise ValueError(f"nothing more can be written to {self.calls.url}: it is {state.value}") from error
        raise aborted_after(error)(
            f"{self.calls.url} was not published: its upload had failed or was aborted before. Write the object anew, "
            "from its first byte, or resume the upload if it was kept",
            *self.calls.address,
            self.pipeline.upload_id if state is State.KEPT else None,
        ) from error
