"""Bounded parallel sending."""

import contextvars
import threading
import time
from functools import partial

import pytest

from s3writer._upload.sender import Sender, Stopped


def test_results_come_back_to_the_owner() -> None:
    sender: Sender[int] = Sender()
    for number in range(5):
        sender.start(partial(int, number))
    assert sorted(sender.wait(0)) == [0, 1, 2, 3, 4]
    assert sender.outstanding == 0


def test_wait_returns_once_few_enough_are_running() -> None:
    sender: Sender[str] = Sender()
    gate = threading.Event()

    def slow() -> str:
        gate.wait(30)
        return "slow"

    sender.start(slow)
    sender.start(lambda: "fast")
    assert sender.wait(1) == ["fast"]
    gate.set()
    assert sender.wait(0) == ["slow"]


def test_the_first_failure_is_raised_to_the_owner() -> None:
    def fail() -> int:
        raise LookupError("first")

    sender: Sender[int] = Sender()
    sender.start(fail)
    with pytest.raises(LookupError, match="first"):
        sender.wait(0)


def test_stop_makes_jobs_stop_at_their_next_check_and_waits_for_them() -> None:
    sender: Sender[int] = Sender()
    checked = threading.Event()

    def job() -> int:
        while True:
            sender.check()
            checked.set()
            time.sleep(0.001)

    sender.start(job)
    assert checked.wait(30)
    assert sender.stop(30) == 0
    with pytest.raises(Stopped):
        sender.wait(0)


def test_stop_tells_how_many_would_not_stop_in_time() -> None:
    sender: Sender[bool] = Sender()
    gate = threading.Event()
    sender.start(lambda: gate.wait(30))
    assert sender.stop(0) == 1
    gate.set()
    assert sender.stop(30) == 0


def test_where_no_thread_is_to_be_had_the_job_runs_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    sender: Sender[str] = Sender()
    sender.start(lambda: threading.current_thread().name)
    assert sender.wait(0) == [threading.current_thread().name]


def test_a_failure_sounds_the_alarm_and_a_result_does_not() -> None:
    alarms: list[bool] = []
    sender: Sender[int] = Sender(lambda: alarms.append(sender.has_failed))
    sender.start(lambda: 1)
    assert sender.wait(0) == [1]
    assert (alarms, sender.has_failed) == ([], False)
    sender.start(lambda: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        sender.wait(0)
    sender.stop(10)
    assert alarms == [True]


def test_a_job_that_was_stopped_keeps_nothing_of_what_it_was_at() -> None:
    sender: Sender[int] = Sender()
    goes_on = threading.Event()

    def work() -> int:
        goes_on.wait(30)
        sender.check()
        return 1

    sender.start(work)
    sender.stop(0)
    goes_on.set()
    sender.stop(30)
    (stopped,) = sender.failures()
    assert (type(stopped), stopped.__traceback__, sender.outstanding) == (Stopped, None, 0)


def test_wait_gives_up_after_its_timeout() -> None:
    release = threading.Event()
    sender: Sender[bool] = Sender()
    sender.start(lambda: release.wait(30))
    with pytest.raises(TimeoutError):
        sender.wait(0, 0.05)
    release.set()
    assert sender.wait(0, 30) == [True]


def test_a_job_sees_the_context_variables_of_whoever_started_it() -> None:
    request: contextvars.ContextVar[str] = contextvars.ContextVar("request")
    request.set("mine")
    sender: Sender[str] = Sender()
    sender.start(request.get)
    assert sender.wait(0) == ["mine"]
