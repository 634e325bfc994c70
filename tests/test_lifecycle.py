"""The lifecycle: legal moves only, an ending for each combination of facts, a manifest only if nothing is missing."""

import dataclasses
import itertools
from collections import Counter
from collections.abc import Iterator

import pytest

from s3writer import MultipartUploadWriter
from s3writer._s3.receipts import Answer, Receipt
from s3writer._upload.ledger import Ledger
from s3writer._upload.lifecycle import MOVES, Ending, Facts, Key, Lifecycle, Question, State, Told, decide
from s3writer.testing import MemoryS3
from tests.helpers import logged
from tests.stores import BUCKET


def receipt(number: int, size: int) -> Receipt:
    return Receipt(number, size, f"etag {number}", {})


@pytest.mark.parametrize(("start", "end"), list(itertools.product(State, State)))
def test_only_the_moves_of_the_table_are_possible(start: State, end: State) -> None:
    lifecycle = Lifecycle(start)
    if end in MOVES[start]:
        lifecycle.move(end)
        assert lifecycle.state is end
    else:
        with pytest.raises(RuntimeError, match=f"{start.value} can't become {end.value}"):
            lifecycle.move(end)
        assert lifecycle.state is start


def test_failure_absorbs_and_outcomes_are_final() -> None:
    def reachable(start: State) -> set[State]:
        found = {start}
        while more := {end for state in found for end in MOVES[state]} - found:
            found |= more
        return found

    assert State.COMMITTED not in reachable(State.ABORTING)
    assert State.COMMITTED not in reachable(State.KEPT)
    final = {State.COMMITTED, State.ABORTED, State.UNKNOWN, State.PREPARED}
    assert {state for state in State if not MOVES[state]} == final


def test_the_error_that_began_the_end_is_remembered_at_the_end() -> None:
    lifecycle, error = Lifecycle(), OSError("a part failed")
    lifecycle.move(State.ABORTING, error)
    lifecycle.move(State.ABORTED)
    assert lifecycle.error is error


def test_the_manifest_lists_all_parts_in_order() -> None:
    ledger = Ledger()
    assert [ledger.allot(size) for size in (5, 5, 2)] == [1, 2, 3]
    for number, size in ((3, 2), (1, 5), (2, 5)):
        ledger.record(receipt(number, size))
    assert [part.number for part in ledger.manifest()] == [1, 2, 3]
    assert (ledger.size, ledger.parts, ledger.next_part) == (12, 3, 4)


def test_numbers_in_s3_begin_behind_the_first() -> None:
    ledger = Ledger(first=7, most=2)
    assert [ledger.allot(size) for size in (5, 2)] == [1, 2]
    assert ledger.is_full
    for part in (receipt(8, 5), receipt(9, 2)):
        ledger.record(part)
    assert [part.number for part in ledger.manifest()] == [8, 9]


@pytest.mark.parametrize("receipts", [[], [receipt(1, 5)], [receipt(1, 5), receipt(2, 4)]])
def test_there_is_no_manifest_while_a_part_or_a_byte_is_missing(receipts: list[Receipt]) -> None:
    ledger = Ledger()
    ledger.allot(5)
    ledger.allot(5)
    for part in receipts:
        ledger.record(part)
    with pytest.raises(RuntimeError, match="account"):
        ledger.manifest()


BOTH = (False, True)
#: was sent, answer, multipart, shared, conditional, token, keeps, altered, may land; and what S3 was asked for.
COMBINATIONS = 2 * 3 * 2**7 * 5 * 4 * 4


def all_facts() -> Iterator[Facts]:
    """Every combination of facts, those that can't be among them."""
    asked = ((None, *Key), (None, *Told), (None, *Told))
    for facts in itertools.product(BOTH, Answer, *[BOTH] * 7, *asked):
        yield Facts(*facts)


def test_every_combination_of_facts_has_an_ending_that_keeps_the_promises() -> None:
    seen: Counter[Ending | Question] = Counter()
    for facts in all_facts():
        step = decide(facts)
        seen[step] += 1
        proves_published = facts.was_sent and (facts.answer is Answer.YES or facts.key is Key.OURS)
        was_refused = facts.answer is Answer.NO
        if step is Ending.COMMITTED:
            assert proves_published
        if step in (Ending.REMOVE, Ending.REMOVE_TWICE):
            was_removed_first = facts.listed is Told.YES and facts.was_there is Told.YES
            was_removed_first &= facts.has_token and facts.key in (Key.NONE, Key.ANOTHER)
            assert not facts.was_sent or was_refused or was_removed_first
            assert not facts.was_sent or facts.answer is not Answer.YES
            assert not facts.is_shared
            assert not (facts.is_multipart and facts.keeps and not facts.is_altered)
            assert (step is Ending.REMOVE_TWICE) is facts.may_land
        if step is Ending.KEEP:
            assert not facts.was_sent or was_refused
            assert facts.is_shared or (facts.is_multipart and facts.keeps and not facts.is_altered)
        if step is Ending.UNKNOWN:
            assert facts.was_sent
            assert facts.answer is not Answer.YES
            assert facts.key is not Key.OURS
        if step is Question.WAS_THERE:
            assert facts.is_multipart
            assert not facts.is_shared
            assert not facts.keeps
        if isinstance(step, Question):
            answered = {Question.KEY: facts.key, Question.LISTED: facts.listed, Question.WAS_THERE: facts.was_there}
            assert answered[step] is None
    assert set(seen) == {*Ending, *Question}
    assert seen.total() == COMBINATIONS == 61_440


@pytest.mark.parametrize("removed", [Told.YES, Told.NO, Told.NOT_TOLD])
@pytest.mark.parametrize("key", Key)
def test_absent_now_is_not_never_was(key: Key, removed: Told) -> None:
    lost = Facts(True, Answer.NOTHING, is_multipart=False, key=key)
    assert decide(lost) is (Ending.COMMITTED if key is Key.OURS else Ending.UNKNOWN)
    settled = Facts(True, Answer.NOTHING, is_multipart=True, key=key, listed=Told.YES, was_there=removed)
    is_proved = removed is Told.YES and key in (Key.NONE, Key.ANOTHER)
    assert (decide(settled) is Ending.REMOVE) is is_proved


def test_the_questions_are_asked_in_an_order_that_proves_something() -> None:
    facts = Facts(True, Answer.NOTHING, is_multipart=True)
    assert decide(facts) is Question.KEY
    assert decide(Facts(True, Answer.NOTHING, is_multipart=True, key=Key.NONE)) is Question.LISTED
    listed = Facts(True, Answer.NOTHING, is_multipart=True, key=Key.NONE, listed=Told.YES)
    assert decide(listed) is Question.WAS_THERE
    removed = Facts(True, Answer.NOTHING, is_multipart=True, listed=Told.YES, was_there=Told.YES)
    assert decide(removed) is Question.KEY


@pytest.mark.parametrize("state", [State.COMMITTED, State.PREPARED, State.UNKNOWN])
def test_whoever_writes_after_the_end_is_told_which_it_was(state: State) -> None:
    with MemoryS3(BUCKET), logged():
        stream = MultipartUploadWriter(BUCKET, "key")
        stream._upload.lifecycle.state = state
        with pytest.raises(ValueError, match=f"nothing more can be written to s3://{BUCKET}/key: it is {state.value}"):
            stream.write(bytes(300_000))
        stream._upload.lifecycle.state = State.OPEN
        stream.abort()


@pytest.mark.parametrize("has_token", BOTH)
@pytest.mark.parametrize("key", [Key.ANOTHER, Key.NONE, Key.NOT_TOLD])
def test_a_refusal_that_is_not_about_the_key_leaves_a_pending_upload_unless_it_was_published(
    key: Key, has_token: bool
) -> None:
    def refused(key: Key | None) -> Facts:
        return Facts(True, Answer.NO, is_multipart=True, is_shared=True, has_token=has_token, key=key)

    assert decide(refused(None)) is Question.KEY
    assert decide(refused(Key.OURS)) is Ending.COMMITTED
    assert decide(refused(key)) is Ending.KEEP


#: Of a pending upload that S3 refuses because of the key: token, what the key holds, whether the upload is listed.
CONDITIONS: list[tuple[bool, Key, Told | None, Ending | Question]] = [
    (True, Key.NONE, None, Ending.KEEP),
    (True, Key.ANOTHER, None, Ending.KEEP),
    (True, Key.NOT_TOLD, None, Ending.UNKNOWN),
    (False, Key.ANOTHER, None, Question.LISTED),
    (False, Key.ANOTHER, Told.YES, Ending.KEEP),
    (False, Key.ANOTHER, Told.NO, Ending.UNKNOWN),
    (False, Key.ANOTHER, Told.NOT_TOLD, Ending.UNKNOWN),
    (False, Key.NOT_TOLD, Told.YES, Ending.UNKNOWN),
]


@pytest.mark.parametrize(("has_token", "key", "listed", "step"), CONDITIONS)
def test_a_refusal_that_a_pending_upload_s_own_object_may_have_caused_needs_a_proof_that_it_did_not(
    has_token: bool, key: Key, listed: Told | None, step: Ending | Question
) -> None:
    refused = Facts(True, Answer.NO, is_multipart=True, is_shared=True, is_conditional=True, has_token=has_token)
    assert decide(dataclasses.replace(refused, key=key, listed=listed)) is step
