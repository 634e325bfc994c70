"""The life of one upload: its states, the legal moves between them, and how it ends.

Pure: no I/O, no threads. `decide` chooses the ending.
"""

from dataclasses import dataclass
from enum import Enum

from s3writer._s3.receipts import Answer


class State(Enum):
    """Where an upload stands.

    COMMITTED, ABORTED and UNKNOWN are the three outcomes. In PREPARED and KEPT the upload stays in S3, and somebody
    else ends it. An upload that could not be removed is KEPT too.
    """

    OPEN = "open"
    COMMITTING = "committing"
    COMMIT_SENT = "commit sent"
    ABORTING = "aborting"
    COMMITTED = "committed"
    ABORTED = "aborted"
    UNKNOWN = "unknown"
    PREPARED = "prepared"
    KEPT = "kept"


#: Once an upload is aborting, nothing can publish it. Once a commit was sent, it may end in any way.
MOVES: dict[State, frozenset[State]] = {
    State.OPEN: frozenset({State.COMMITTING, State.ABORTING, State.KEPT}),
    State.COMMITTING: frozenset({State.COMMIT_SENT, State.ABORTING, State.PREPARED, State.KEPT}),
    State.COMMIT_SENT: frozenset({State.COMMITTED, State.ABORTING, State.UNKNOWN, State.KEPT}),
    State.ABORTING: frozenset({State.ABORTED, State.KEPT}),
    State.COMMITTED: frozenset(),
    State.ABORTED: frozenset(),
    State.UNKNOWN: frozenset(),
    State.PREPARED: frozenset(),
    State.KEPT: frozenset({State.ABORTING}),
}


class Lifecycle:
    """The state of one upload, and the error that ended it. The state changes only as `MOVES` allows."""

    def __init__(self, state: State = State.OPEN) -> None:
        self.state = state
        self.error: BaseException | None = None

    def move(self, to: State, error: BaseException | None = None) -> None:
        """Go to state ``to`` because of ``error``, or RuntimeError if `MOVES` has no such move."""
        if to not in MOVES[self.state]:
            raise RuntimeError(f"an upload that is {self.state.value} can't become {to.value}")
        self.error = error or self.error
        self.state = to

    def enter(self, state: State, error: BaseException | None) -> None:
        """`move`, unless somebody else has done so."""
        if self.state is not state:
            self.move(state, error)


class Key(Enum):
    """What S3 shows under the key."""

    OURS = "our object: it has our token"
    ANOTHER = "another object"
    NONE = "no object"
    NOT_TOLD = "S3 does not tell, or what it tells can't be"


class Told(Enum):
    """S3's answer to a question of yes or no."""

    YES = "yes"
    NO = "no"
    NOT_TOLD = "S3 does not tell"


class Question(Enum):
    """What S3 must be asked before the ending is known."""

    KEY = "what does the key hold?"
    LISTED = "is the upload listed?"
    #: Removing the upload asks this question. After that, S3 must be asked for the key again.
    WAS_THERE = "was the upload there when it was removed?"


class Ending(Enum):
    """How an upload ends, and what becomes of it in S3."""

    COMMITTED = "committed"
    #: Not committed. Remove the upload, unless `Question.WAS_THERE` has removed it.
    REMOVE = "not committed, remove"
    #: Not committed, but S3 may still be at work on a part. Remove the upload, and remove it again a while later.
    REMOVE_TWICE = "not committed, remove twice"
    #: Not committed. Leave the upload in S3 as it is.
    KEEP = "not committed, keep"
    #: Nobody knows whether the object was published. Touch nothing more in S3.
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Facts:
    """All that the ending depends on. ``key``, ``listed`` and ``was_there`` are None until S3 was asked.

    Attributes:
        was_sent: a commit has been sent.
        answer: S3's answer to it.
        is_multipart: there is an upload. Without one, the object goes in a single request.
        is_shared: the upload is a pending one, which somebody else may have committed, or may commit later. It is never
            removed here.
        is_conditional: S3 refused because of the object under the key. That object may be this upload's.
        has_token: if the object was published, it has our token in its metadata.
        keeps: an upload that fails stays in S3, to be resumed.
        is_altered: S3 has received other bytes than were sent.
        may_land: the answer to an attempt of a part was lost, and S3 may still be at work on that part.
        key: what the key holds.
        listed: whether S3 listed the upload after the commit was sent.
        was_there: whether the upload was there when it was removed.

    """

    was_sent: bool
    answer: Answer
    is_multipart: bool
    is_shared: bool = False
    is_conditional: bool = False
    has_token: bool = True
    keeps: bool = False
    is_altered: bool = False
    may_land: bool = False
    key: Key | None = None
    listed: Told | None = None
    was_there: Told | None = None


def decide(facts: Facts) -> Ending | Question:
    """The ending, or the question that must be asked first.

    If S3 said yes, or the key holds our token, the object was published. If S3 said no to the only attempt, it was not.
    It was not published either if S3 lists the upload after the commit, the upload is there when we remove it, and the
    key does not hold our object after that. That the key does not hold our object proves nothing alone: a consumer may
    have taken the object.
    """
    if not facts.was_sent:
        return _not_committed(facts)
    if facts.answer is Answer.YES:
        return Ending.COMMITTED
    if facts.answer is Answer.NO and not facts.is_shared:
        return _not_committed(facts)
    if facts.key is None:
        return Question.KEY
    if facts.key is Key.OURS:
        return Ending.COMMITTED
    if facts.is_shared:
        return _decide_shared(facts)
    if not facts.is_multipart or facts.keeps:
        return Ending.UNKNOWN
    if facts.was_there is None:
        return Question.LISTED if facts.listed is None else Question.WAS_THERE
    was_not_committed = (
        facts.has_token and facts.key is not Key.NOT_TOLD and facts.listed is Told.YES and facts.was_there is Told.YES
    )
    return _not_committed(facts) if was_not_committed else Ending.UNKNOWN


def _decide_shared(facts: Facts) -> Ending | Question:
    """`decide` for an upload that others may have committed, if the key does not hold its object."""
    if facts.answer is not Answer.NO:
        return Ending.UNKNOWN
    if not facts.is_conditional:
        return Ending.KEEP
    if facts.key is Key.NOT_TOLD:
        return Ending.UNKNOWN
    if facts.has_token:
        return Ending.KEEP
    if facts.listed is None:
        return Question.LISTED
    return Ending.KEEP if facts.listed is Told.YES else Ending.UNKNOWN


def _not_committed(facts: Facts) -> Ending:
    if facts.is_shared or (facts.is_multipart and facts.keeps and not facts.is_altered):
        return Ending.KEEP
    return Ending.REMOVE_TWICE if facts.may_land else Ending.REMOVE
