"""Gives an upload up: removes it from S3, or keeps it there.

All that give up an upload call this module: a writer, a finaliser, the interpreter's exit, a `PendingUpload`, a sweep.
It tells what may be left before it tries to remove the upload, see `telling`.
"""

import sys
import time
from collections.abc import Callable

from s3writer._errors import NotCommittedError, add_note
from s3writer._log import log_end, warn
from s3writer._s3 import faults
from s3writer._s3.calls import Calls
from s3writer._s3.receipts import Answer
from s3writer._upload import at_exit
from s3writer._upload.jobs import Job
from s3writer._upload.lifecycle import Ending, Facts, Lifecycle, State, decide
from s3writer._upload.pipeline import Pipeline
from s3writer._upload.telling import INTERRUPTED, Telling, left_behind

#: How long a writer waits until its upload is removed, even if the server hangs.
ABORT_SECONDS = 60.0
#: How long to wait for parts in flight to stop. A part stops before its next slice.
STOP_SECONDS = 30.0
#: If the answer to a part was lost, S3 may still be at work on it. So the upload is removed again after this time.
LATE_SECONDS = 1.0
#: If a part arrives after an abort, the upload must be aborted again; S3's API reference, AbortMultipartUpload.
_ATTEMPTS = 3
_PAUSE_SECONDS = 0.2


def remove(calls: Calls, upload_id: str, is_sending: Callable[[], object] = bool) -> bool:
    """Abort the upload until S3 does not show it any more. Returns whether S3 knew it. Call this in a job's thread.

    ``is_sending`` says whether parts are in flight. Raises `NotCommittedError` with the upload's id if the upload may
    be left.
    """
    was_there, reason = False, ""
    for attempt in range(_ATTEMPTS):
        time.sleep(attempt * _PAUSE_SECONDS)
        was_sending = is_sending()
        try:
            was_there |= calls.abort(upload_id)
            if not calls.shows(upload_id) and not was_sending:
                return was_there
            reason = "S3 shows it even now"
        except NotCommittedError as error:
            reason = faults.said(error.__cause__)
    raise left_behind(calls, upload_id, reason)


def remove_now(calls: Calls, upload_id: str) -> bool:
    """`remove` in another thread; wait for it without a limit."""
    return _wait_for(Job(lambda: remove(calls, upload_id)), calls, lambda: upload_id, None)


class Cleanup:
    """Gives one upload up. ``keeps`` says whether an upload that fails stays in S3, to be resumed."""

    def __init__(self, pipeline: Pipeline, lifecycle: Lifecycle, telling: Telling, *, keeps: bool) -> None:
        self._pipeline = pipeline
        self._lifecycle = lifecycle
        self._telling = telling
        self.keeps = keeps
        self._began = time.monotonic()
        self._removal: Job[bool] | None = None
        self._abandonment: Job[None] | None = None

    def facts(self, answer: Answer = Answer.NOTHING, *, was_sent: bool = False, keeps: bool | None = None) -> Facts:
        """The facts for `decide`, as far as they are known here."""
        return Facts(
            was_sent=was_sent,
            answer=answer,
            is_multipart=self._pipeline.beginning.has_begun,
            has_token=self._pipeline.calls.token is not None,
            keeps=self.keeps if keeps is None else keeps,
            is_altered=self._pipeline.is_altered,
            may_land=self._pipeline.may_land,
        )

    def give_up(self, error: BaseException | None) -> None:
        """Keep or remove the upload, as ``keeps`` says. The propagating ``error`` gets a note of what may be left."""
        keeps = self.keeps and self._lifecycle.state is not State.ABORTING
        if keeps and self._pipeline.beginning.wait(STOP_SECONDS) is not None:
            self.keep(error)
        else:
            self.remove(error)

    def keep(self, error: BaseException | None) -> None:
        """Leave the upload in S3. Wait for the parts in flight, so that none arrives while somebody resumes the upload.
        If S3 has received other bytes than were sent, remove the upload instead.
        """
        strike_out = self._telling.say_first(error)
        self._lifecycle.enter(State.KEPT, error)
        self._pipeline.jobs.stop(STOP_SECONDS)
        if decide(self.facts()) is Ending.KEEP:
            self._finish(State.KEPT.value)
            self._telling.tell_lost(error)
            self._telling.tell_kept(error)
        else:
            strike_out()
            self.remove(error)

    def remove(self, error: BaseException | None) -> None:
        """Remove the upload. If it may be left, note that on ``error``; without one, raise `NotCommittedError`."""
        telling = self._telling
        strike_out: Callable[[], object] = bool
        if self._pipeline.beginning.has_begun:
            strike_out = telling.say_first(error, INTERRUPTED)
        self._lifecycle.enter(State.ABORTING, error)
        try:
            self.find_out()
        except NotCommittedError as left:
            strike_out()
            telling.settle(left)
            self.end(State.KEPT, error, "left behind")
            if error is None:
                raise
            telling.tell(error, left)
            return
        strike_out()
        self._end_removed(error)

    def find_out(self) -> bool:
        """Remove the upload, but don't end yet. Returns whether S3 knew it. `NotCommittedError` if it may be left."""
        if not self._pipeline.beginning.has_begun:
            return False
        self._removal = Job(self._remove)
        return _wait_for(self._removal, self._pipeline.calls, lambda: self._pipeline.upload_id, ABORT_SECONDS)

    def end_interrupted(self, interrupt: BaseException | None) -> None:
        """End after ``interrupt``, which came while the upload was being removed. It gets a note of what may be left.
        If a finaliser's thread removes the upload, wait for that thread.
        """
        removal = self._removal
        if self._abandonment is not None:
            self._abandonment.wait(ABORT_SECONDS)
        elif not self._pipeline.beginning.has_begun or (removal and removal.is_done and removal.error is None):
            self._end_removed(interrupt)
        else:
            self._lifecycle.move(State.KEPT, interrupt)
            self._telling.tell(interrupt, self._telling.left(INTERRUPTED))

    def abandon(self) -> bool:
        """`give_up` in another thread, without waiting; for finalisers. False if no thread can be had.

        A finaliser may run while its thread holds locks of botocore or urllib3 that the calls need. Another thread can
        wait for these locks. While the interpreter shuts down, do nothing.
        """
        if not self._pipeline.beginning.has_begun:
            self.remove(None)
            return True
        return sys.is_finalizing() or self._start_abandonment(elsewhere=True) is not None

    def abandon_at_exit(self) -> None:
        """`give_up`, and wait for that, while the thread that owns the upload may be at work on it."""
        job = self._start_abandonment(elsewhere=False)
        if job is not None and not job.wait(ABORT_SECONDS):
            left = self._telling.left(f"it took more than {ABORT_SECONDS:.0f} seconds")
            warn(str(left.strerror), self._pipeline.facts())

    def _start_abandonment(self, *, elsewhere: bool) -> Job[None] | None:
        """`give_up_quietly` in a job; None if it could not be started."""
        keeps = self.keeps and self._pipeline.beginning.has_begun
        self._lifecycle.enter(State.KEPT if keeps else State.ABORTING, None)
        job = self._abandonment = Job(self.give_up_quietly, "s3writer-abort")
        if not job.start(elsewhere=elsewhere):
            return None
        at_exit.wait_for(job)
        return job

    def give_up_quietly(self) -> None:
        """`give_up`, and log what may be left."""
        try:
            self.give_up(None)
        except NotCommittedError as left:
            warn(str(left.strerror), self._pipeline.facts())

    def end(
        self, state: State, error: BaseException | None = None, outcome: str = "", parts: int | None = None
    ) -> None:
        """Move to ``state`` because of ``error``, free all memory, and log the ending."""
        self._lifecycle.move(state, error)
        self._finish(outcome or state.value, parts)

    def _remove(self) -> bool:
        """Wait for the parts in flight, and remove the upload. Returns whether S3 knew it. Runs in a job's thread."""
        pipeline, calls = self._pipeline, self._pipeline.calls
        pipeline.jobs.stop(STOP_SECONDS)
        upload_id = pipeline.beginning.find_id(STOP_SECONDS)
        if upload_id is None:
            return False
        was_there = remove(calls, upload_id, lambda: pipeline.jobs.stop(0))
        if decide(self.facts(keeps=False)) is Ending.REMOVE_TWICE:
            time.sleep(LATE_SECONDS)
            was_there |= remove(calls, upload_id)
            warn(
                f"upload {upload_id} of {calls.url} was aborted after the answer to a part was lost; should S3 store "
                "that part even now, the upload must be aborted again",
                pipeline.facts(),
            )
        return was_there

    def _end_removed(self, error: BaseException | None) -> None:
        """End: the upload is gone, unless there is one whose id nobody knows."""
        self._telling.settle(None)
        self._telling.tell_lost(error)
        self.end(State.ABORTED, error)

    def _finish(self, outcome: str, parts: int | None = None) -> None:
        ledger = self._pipeline.ledger
        self._pipeline.let_go()
        log_end(
            outcome,
            *self._pipeline.calls.address,
            self._pipeline.upload_id,
            size=ledger.size,
            parts=ledger.parts if parts is None else parts,
            began=self._began,
        )


def _wait_for(removal: Job[bool], calls: Calls, find_id: Callable[[], str | None], timeout: float | None) -> bool:
    """Start a job that removes an upload, and wait for it. Returns whether S3 knew the upload. ``find_id`` returns the
    upload's id as far as it is known by then.

    Raises `NotCommittedError` with the upload's id if the upload may be left. An interrupt gets a note that says so.
    """
    try:
        removal.start()
        at_exit.wait_for(removal)
        if not removal.wait(timeout):
            raise left_behind(calls, find_id(), f"it took more than {timeout:.0f} seconds")
        return removal.outcome()
    except NotCommittedError:
        raise
    except BaseException as interrupt:
        add_note(interrupt, str(left_behind(calls, find_id(), INTERRUPTED).strerror))
        raise
