"""Work in threads, and the one place where its owner waits."""

import contextvars
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from queue import Empty
from typing import Any

import pytest

from s3writer import NotCommittedError
from s3writer._upload import jobs as module
from s3writer._upload.job_group import JobGroup
from s3writer._upload.jobs import (
    _IDLE_SECONDS,
    Job,
    Stopped,
    WorkingFor,
    _free_inbox,
    is_worker_of,
    run,
)
from tests.helpers import join_threads


def start(jobs: JobGroup[Any], work: Callable[[], Any]) -> None:
    """Have a thread do it, and wait until it has begun: nobody can cancel it any more."""
    begun = threading.Event()

    def begin() -> Any:
        begun.set()
        return work()

    jobs.add(begin).start()
    assert begun.wait(30)


def refuse_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    join_threads()  # one that waits for another job would do it
    monkeypatch.setattr(threading.Thread, "start", refuse)


def test_work_that_finds_no_thread_sees_no_exception_that_its_owner_does_not_see(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refuse_threads(monkeypatch)
    job: Job[BaseException | None] = Job(sys.exception)
    assert job.start()
    assert (job.is_done, job.outcome()) == (True, None)


def test_results_come_back_to_the_owner() -> None:
    jobs: JobGroup[int] = JobGroup()
    for number in range(5):
        start(jobs, partial(int, number))
    jobs.wait(0)
    assert sorted(jobs.take()) == [0, 1, 2, 3, 4]
    assert (jobs.in_flight, jobs.take()) == (0, [])


def test_wait_returns_once_few_enough_are_running() -> None:
    jobs: JobGroup[str] = JobGroup()
    gate = threading.Event()

    def slow() -> str:
        gate.wait(30)
        return "slow"

    start(jobs, slow)
    start(jobs, lambda: "fast")
    jobs.wait(1)
    assert (jobs.take(), jobs.in_flight) == (["fast"], 1)
    gate.set()
    jobs.wait(0)
    assert jobs.take() == ["slow"]


def test_the_first_failure_is_raised_to_the_owner_each_time_it_asks() -> None:
    def fail() -> int:
        raise LookupError("first")

    jobs: JobGroup[int] = JobGroup()
    start(jobs, fail)
    jobs.wait(0)
    for _ in range(2):
        with pytest.raises(LookupError, match="first"):
            jobs.take()
    assert [str(failure) for failure in jobs.failures] == ["first"]
    assert jobs.in_flight == 0


def test_a_failure_ends_the_wait_for_others() -> None:
    jobs: JobGroup[bool] = JobGroup()
    gate = threading.Event()
    start(jobs, lambda: gate.wait(30))
    start(jobs, lambda: bool(1 // 0))
    jobs.wait(0)
    with pytest.raises(ZeroDivisionError):
        jobs.take()
    gate.set()
    assert jobs.stop(30) == 0


def test_stop_makes_jobs_stop_at_their_next_check_and_waits_for_them() -> None:
    jobs: JobGroup[int] = JobGroup()
    checked = threading.Event()

    def work() -> int:
        while True:
            jobs.check()
            checked.set()
            time.sleep(0.001)

    start(jobs, work)
    assert checked.wait(30)
    assert jobs.stop(30) == 0
    with pytest.raises(Stopped):
        jobs.take()


def test_stop_tells_how_many_would_not_stop_in_time_and_leaves_out_what_was_never_started() -> None:
    jobs: JobGroup[bool] = JobGroup()
    gate = threading.Event()
    start(jobs, lambda: gate.wait(30))
    jobs.add(lambda: True)
    assert jobs.stop(0) == 1
    gate.set()
    assert jobs.stop(30) == 0
    assert jobs.in_flight == 1
    jobs.let_go()
    assert jobs.in_flight == 0


def test_where_no_thread_is_to_be_had_the_job_runs_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_threads(monkeypatch)
    assert run(lambda: threading.current_thread().name) == threading.current_thread().name
    job: Job[int] = Job(lambda: 1)
    assert not job.start(elsewhere=True)
    assert job.cancel()
    assert (job.is_done, type(job.error)) == (True, Stopped)


def test_a_handler_s_exception_is_raised_even_if_threading_makes_a_key_error_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = next(name for name in ("_start_joinable_thread", "_start_new_thread") if hasattr(threading, name))
    begin, is_working = getattr(threading, name), threading.Event()

    def begin_and_be_interrupted(*arguments: Any, **named: Any) -> None:
        begin(*arguments, **named)
        assert is_working.wait(30)  # by then Python has registered the thread, and forgotten that it is to start
        raise TimeoutError("of a signal's handler")

    join_threads()
    monkeypatch.setattr(threading, name, begin_and_be_interrupted)
    with pytest.raises(TimeoutError, match="of a signal's handler"):
        Job(is_working.set).start()


def test_while_the_interpreter_shuts_down_no_thread_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "is_finalizing", lambda: True)
    assert run(lambda: threading.current_thread().name) == threading.current_thread().name
    job: Job[int] = Job(lambda: 1)
    assert not job.start(elsewhere=True)
    assert not job.is_done


def test_an_error_of_this_package_comes_without_the_frames_of_its_thread() -> None:
    def fail() -> None:
        raise NotCommittedError("refused", "bucket", "key")

    with pytest.raises(NotCommittedError) as caught:
        run(fail)
    assert [entry.name for entry in caught.traceback][-1] == "outcome"


def test_a_failure_sounds_the_alarm_and_a_result_does_not() -> None:
    alarms: list[bool] = []
    jobs: JobGroup[int] = JobGroup()
    jobs.alarm = lambda: alarms.append(bool(jobs.failures))
    start(jobs, lambda: 1)
    jobs.wait(0)
    assert jobs.take() == [1]
    assert alarms == []
    start(jobs, lambda: 1 // 0)
    jobs.stop(10)
    for thread in threading.enumerate():
        if thread.name == "s3writer-part":
            thread.join(30)
    assert alarms == [True]


def test_once_a_job_has_failed_nobody_waits_for_the_others() -> None:
    jobs: JobGroup[int] = JobGroup()
    goes_on, has_ended = threading.Event(), []
    start(jobs, lambda: has_ended.append(goes_on.wait(5)))
    start(jobs, lambda: 1 // 0)
    jobs.wait(0)
    assert (len(jobs.failures), has_ended) == (1, [])
    goes_on.set()
    jobs.stop(30)


def test_a_job_that_was_stopped_keeps_nothing_of_what_it_was_at() -> None:
    jobs: JobGroup[int] = JobGroup()
    goes_on = threading.Event()

    def work() -> int:
        goes_on.wait(30)
        jobs.check()
        return 1

    start(jobs, work)
    jobs.stop(0)
    goes_on.set()
    jobs.stop(30)
    (stopped,) = jobs.failures
    assert (type(stopped), stopped.__traceback__, jobs.in_flight) == (Stopped, None, 0)


def test_a_job_that_is_done_holds_nothing_of_its_work() -> None:
    bytes_of_a_part = bytearray(1)
    view = memoryview(bytes_of_a_part)
    job: Job[int] = Job(partial(len, view))
    del view
    job.start()
    assert job.wait(30)
    for thread in threading.enumerate():
        if thread.name.startswith("s3writer"):
            thread.join(30)
    assert job.outcome() == 1
    bytes_of_a_part.append(0)  # BufferError as long as there is a view


def test_a_thread_that_has_waited_long_enough_still_does_the_job_that_is_on_its_way() -> None:
    while (inbox := _free_inbox()) is None:
        run(bool)
    time.sleep(3 * _IDLE_SECONDS)
    job: Job[int] = Job(lambda: 7)
    inbox.jobs.put(job)
    assert job.wait(10)
    assert job.outcome() == 7


def test_a_thread_whose_inbox_was_taken_by_somebody_who_was_interrupted_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_IDLE_SECONDS", 0.0)
    monkeypatch.setattr(module, "_LOOK_SECONDS", 0.001)
    assert module._next_job(module._Inbox()) is None  # which is not among the idle ones


def test_a_job_is_done_though_its_owner_was_held_up_when_it_had_taken_a_thread_s_inbox(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def free_inbox_slowly() -> Any:
        inbox = free_inbox()
        join_threads()
        return inbox

    free_inbox = _free_inbox
    while not module._idle:
        run(bool)
    monkeypatch.setattr(module, "_LOOK_SECONDS", 0.001)
    monkeypatch.setattr(module, "_free_inbox", free_inbox_slowly)
    job: Job[int] = Job(lambda: 7)
    assert job.start()
    assert job.wait(10)
    assert job.outcome() == 7


def test_a_job_that_comes_just_when_its_thread_ends_is_done_by_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def find_nothing(*_: object) -> None:
        raise Empty

    monkeypatch.setattr(module, "_next_of", find_nothing)
    inbox, job = module._Inbox(), Job(bool)
    inbox.jobs.put(job)
    assert (module._next_job(inbox), inbox.is_left) == (job, False)


def test_run_gives_up_after_its_timeout() -> None:
    release = threading.Event()
    with pytest.raises(TimeoutError):
        run(lambda: release.wait(30), 0.05)
    release.set()
    assert run(lambda: release.wait(30), 30)


def test_a_job_sees_the_context_variables_of_whoever_started_it() -> None:
    request: contextvars.ContextVar[str] = contextvars.ContextVar("request")
    request.set("mine")
    assert run(request.get) == "mine"


def test_a_thread_knows_for_whom_it_does_a_job() -> None:
    mine, other = object(), object()
    with WorkingFor(mine):
        assert run(lambda: (is_worker_of(mine), is_worker_of(other))) == (True, False)
        assert not is_worker_of(mine)
    assert run(lambda: is_worker_of(mine)) is False


def test_an_idle_thread_ends_though_its_time_is_over_before_it_begins_to_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_IDLE_SECONDS", 1e-6)
    for _ in range(3000):
        run(bool)
        join_threads()


def test_a_forked_child_leaves_no_work_to_a_thread_that_only_its_parent_has() -> None:
    script = """
import os, threading
from s3writer._upload.jobs import run
run(bool)
while "s3writer-idle" not in [thread.name for thread in threading.enumerate()]:
    run(bool)
if (child := os.fork()) == 0:
    os._exit(run(lambda: 7, 20))
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", script]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (ended.stdout, ended.stderr) == ("7\n", "")


def test_python_s_own_queue_does_as_well() -> None:
    script = """
import queue
queue.SimpleQueue = queue._PySimpleQueue
from s3writer._upload.job_group import JobGroup
jobs = JobGroup()
for number in range(3):
    jobs.add(lambda: 1 // (number % 2)).start()
jobs.wait(0)
print(len(jobs.failures), jobs.stop(10))
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert ended.stderr == ""
    assert ended.stdout.endswith(" 0\n")
