"""One upload from its first part to its ending: begin, send, end.

The thread that writes owns the upload. Each call of S3 runs in another thread and returns S3's answer. The owner
records the answer.
"""

from collections.abc import Callable, Sequence

from s3writer._errors import AbortedError, ObjectTooLargeError, add_note, say_first
from s3writer._log import warn
from s3writer._s3.calls import Calls
from s3writer._s3.receipts import Receipt, UploadResult, bare
from s3writer._s3.watching import watch
from s3writer._upload import at_exit
from s3writer._upload.cleanup import Cleanup
from s3writer._upload.commit import Commit
from s3writer._upload.destination import Destination
from s3writer._upload.ledger import Ledger
from s3writer._upload.lifecycle import Ending, Facts, State
from s3writer._upload.outcome import Inquiry, published_all_the_same
from s3writer._upload.pace import Pace
from s3writer._upload.part import Part
from s3writer._upload.pipeline import Pipeline
from s3writer._upload.plan import MAX_PARTS, Plan
from s3writer._upload.telling import INTERRUPTED, NO_TIME, Telling


class Upload(Destination):
    """Sends parts, and ends in one of the ways of `Ending`. One thread at a time may use it.

    ``keeps`` says whether an upload that fails stays in S3, to be resumed, or is removed. If `send`, `commit`,
    `prepare` or `abort` raises, the caller passes the error to `fail`.
    """

    def __init__(
        self, calls: Calls, plan: Plan, *, keeps: bool = False, progress: Callable[[int], object] | None = None
    ) -> None:
        super().__init__(Pipeline(calls, Pace(plan), Ledger(), progress=progress))
        watch(calls.client)
        self.result: UploadResult | None = None
        self._telling = Telling(self.pipeline)
        self._cleanup = Cleanup(self.pipeline, self.lifecycle, self._telling, keeps=keeps)
        self._commit: Commit | None = None
        self._facts: Facts | None = None
        #: A finaliser wanted to give the upload up, but no thread could be started.
        self._is_orphan = False

    @property
    def keeps(self) -> bool:
        """Whether an upload that fails stays in S3."""
        return self._cleanup.keeps

    @property
    def sink(self) -> Pipeline:
        """The pipeline, as the intake's `Sink`."""
        return self.pipeline

    def send(self, part: Part, *, is_last: bool = False) -> Part:
        """Send ``part`` as the next one. Returns an empty part, once there is room; for the last part, ``part``."""
        self._check_for_room()
        if not self.pipeline.beginning.has_begun:
            at_exit.watch(self)
        self.pipeline.beginning.start()
        if self.lifecycle.state not in (State.OPEN, State.COMMITTING):  # a finaliser has given the upload up meanwhile
            if self.lifecycle.state is State.ABORTED:
                self._cleanup.find_out()  # it had nothing to remove then
            self.check()
        self.pipeline.send(part)
        if is_last:
            return part
        self._check_for_room()
        return self.pipeline.empty_part()

    def commit(self, tail: Part) -> UploadResult:
        """Publish what was sent, followed by ``tail``. Returns the result."""
        if self.result is not None:
            return self.result
        self.check()
        self.lifecycle.move(State.COMMITTING)
        pipeline, calls = self.pipeline, self.calls
        if pipeline.beginning.has_begun:
            parts = self._send_rest(tail)
            commit = Commit(calls, pipeline.upload_id, parts, calls.proof.of_whole(parts))
        else:
            pipeline.ledger.size = tail.size
            commit = Commit.single(calls, tail, pipeline.digest, pipeline.jobs.check)
        self._commit = commit
        self.lifecycle.move(State.COMMIT_SENT)
        commit.send()
        if (error := self._conclude(commit, None)) is not None:
            raise error
        if self.result is None:
            self.check()  # raises: the bytes of a single request were stopped
        assert self.result is not None
        return self.result

    def prepare(self, tail: Part) -> list[Receipt]:
        """Send ``tail`` as the last part. Returns the receipts of all parts, for somebody else to publish."""
        self.lifecycle.move(State.COMMITTING)
        parts = self._send_rest(tail)
        self._cleanup.end(State.PREPARED)
        return parts

    def go_on(self, upload_id: str, calls: Calls, parts: Sequence[Receipt]) -> None:
        """Continue an upload that was begun elsewhere. ``parts`` are in S3 already; ``calls`` replace the ones here."""
        self.pipeline.calls = calls
        for part in parts:
            self.pipeline.ledger.allot(part.size)
            self.pipeline.ledger.record(part)
        self.pipeline.forget_digest()
        self.pipeline.beginning.upload_id = upload_id
        at_exit.watch(self)

    def fail(self, error: BaseException | None) -> None:
        """End because of ``error``: keep the upload or remove it, as ``keeps`` says. If the commit was sent, or the
        upload has ended, ``error`` gets a note that says what became of the upload.
        """
        state = self.lifecycle.state
        if state is State.COMMIT_SENT and self._commit is not None:
            strike_out = say_first(error, self.told())
            self.pipeline.jobs.stop(0)
            self._commit.end()
            self._conclude(self._commit, error)
            strike_out()
        elif state in (State.OPEN, State.COMMITTING):
            self._cleanup.give_up(error)
        elif state is State.ABORTING:
            self._cleanup.end_interrupted(error)
        elif error is None or error is self.lifecycle.error or isinstance(error, AbortedError):
            return  # it says so itself
        elif (told := self.told()) and told not in str(error):
            add_note(error, told)

    def abort(self) -> None:
        """Remove the upload. Raises `NotCommittedError` if it may be left; then `abort` can be called again."""
        if self.is_ours and self.lifecycle.state in (State.OPEN, State.COMMITTING, State.KEPT):
            self._cleanup.remove(None)

    def abandon(self) -> str:
        """`fail` without waiting for it, for finalisers. Returns a sentence if the outcome is not known, else ""."""
        if self.lifecycle.state is State.COMMIT_SENT:
            return self.told()
        if not self._cleanup.abandon():
            self._is_orphan = True
            at_exit.adopt(self)
        return ""

    @property
    def is_alive(self) -> bool:
        """Whether it must be ended at exit: nobody has closed it, or a finaliser could not give it up."""
        return self.is_ours and (self._is_orphan or not self.has_ended)

    def end_at_exit(self, *, has_time: bool) -> None:
        """Give up an upload that was never closed, if there is time, and log what became of it."""
        if not self.is_alive:
            return
        state = self.lifecycle.state
        self._is_orphan = False
        reason = NO_TIME
        try:
            if state is not State.COMMIT_SENT and has_time:
                reason = INTERRUPTED
                self._cleanup.abandon_at_exit()
                reason = ""
        finally:
            if state is not State.COMMIT_SENT and reason:
                warn(str(self._telling.left(reason).strerror), self.extra)
            warn(self.told() or f"{self.calls.url} was never closed: it is not published", self.extra)

    def _send_rest(self, tail: Part) -> list[Receipt]:
        """Send ``tail`` as the last part, and wait until S3 has all parts. Returns their receipts."""
        if tail.size or not self.pipeline.ledger.parts:
            self.send(tail, is_last=True)
        self.pipeline.collect(0)
        manifest = self.pipeline.ledger.manifest()
        return manifest if self.calls.proof.is_declared else bare(manifest)

    def _check_for_room(self) -> None:
        if self.pipeline.ledger.is_full:
            raise ObjectTooLargeError(
                f"{self.calls.url} does not fit into {MAX_PARTS:,} parts, of which the last was "
                f"{self.pipeline.size_of(MAX_PARTS):,} bytes: set expected_size to its length, or a larger max_memory "
                "or part_size",
                *self.calls.address,
            )

    def _conclude(self, commit: Commit, interrupt: BaseException | None) -> BaseException | None:
        """Find out what became of ``commit``, and end the upload. Returns the error to raise, None if there is none. An
        interrupt is raised even if the object was published; a note on it says what became of the object.
        """
        answer = commit.answer
        pipeline = self.pipeline
        inquiry = Inquiry(
            self.calls,
            pipeline.upload_id,
            commit.size,
            commit.parts,
            computed=answer.computed,
            remove=self._cleanup.find_out,
        )
        known = self._facts or self._cleanup.facts(answer.answer, was_sent=commit.was_sent)
        self._facts, ending = inquiry.settle(known)
        interrupt = _first(interrupt, commit.interrupt, inquiry.interrupt)
        error = _first(interrupt, answer.error)
        if ending is Ending.COMMITTED:
            self.result = answer.result or inquiry.result
            assert self.result is not None
            self._cleanup.end(State.COMMITTED, parts=self.result.parts)
            if not pipeline.beginning.has_begun:
                pipeline.acknowledge_published(self.result.size)
            error = interrupt
        elif ending is Ending.UNKNOWN:
            unknown = inquiry.unknown(self._facts)
            unknown.__cause__ = answer.error
            if self._facts.keeps and pipeline.beginning.has_begun:
                self._telling.tell_kept(_first(interrupt, unknown))
            self._cleanup.end(State.UNKNOWN, unknown)
            error = _first(interrupt, unknown)
        elif ending is Ending.KEEP:
            self._cleanup.keep(error)
        elif self._facts.was_there is None:
            self._cleanup.remove(error)
        else:
            self.lifecycle.move(State.ABORTING)
            self._cleanup.end(State.ABORTED, error)
        if interrupt is not None and (told := self.told()):
            add_note(interrupt, told)
        return error

    def told(self) -> str:
        """A sentence that says how the upload ended; "" if it was just removed."""
        state, url = self.lifecycle.state, self.calls.url
        if state is State.PREPARED:
            return f"upload {self.pipeline.upload_id} of {url} is prepared, and must be committed or aborted"
        if state is State.UNKNOWN:
            return str(self.lifecycle.error)
        if state is State.COMMIT_SENT and self._commit is not None:
            commit = self._commit
            inquiry = Inquiry(self.calls, self.pipeline.upload_id, commit.size, commit.parts)
            return str(inquiry.unknown(self._cleanup.facts(was_sent=True), "it was interrupted"))
        return published_all_the_same(self.calls, self.result) if self.result else self._telling.told


def _first(*errors: BaseException | None) -> BaseException | None:
    """The first that is one."""
    return next((error for error in errors if error is not None), None)
