"""The lifecycle: only legal moves, and a manifest only if nothing is missing."""

import itertools

import pytest

from s3writer._upload.lifecycle import MOVES, Receipt, Session, State


def receipt(number: int, size: int) -> Receipt:
    return Receipt(number, size, f"etag {number}", {})


@pytest.mark.parametrize(("start", "end"), list(itertools.product(State, State)))
def test_only_the_moves_of_the_table_are_possible(start: State, end: State) -> None:
    session = Session(state=start)
    if end in MOVES[start]:
        session.move(end)
        assert session.state is end
    else:
        with pytest.raises(RuntimeError, match=f"{start.value} can't become {end.value}"):
            session.move(end)
        assert session.state is start


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


def test_the_manifest_lists_all_parts_in_order() -> None:
    session = Session()
    assert [session.allot(size) for size in (5, 5, 2)] == [1, 2, 3]
    assert session.record([receipt(3, 2), receipt(1, 5)]) == 7
    assert session.record([receipt(2, 5)]) == 5
    assert [part.number for part in session.manifest()] == [1, 2, 3]
    assert session.size == 12


@pytest.mark.parametrize("receipts", [[], [receipt(1, 5)], [receipt(1, 5), receipt(2, 4)]])
def test_there_is_no_manifest_while_a_part_or_a_byte_is_missing(receipts: list[Receipt]) -> None:
    session = Session()
    session.allot(5)
    session.allot(5)
    session.record(receipts)
    with pytest.raises(RuntimeError, match="account"):
        session.manifest()
