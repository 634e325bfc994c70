"""What a forked child does first: it forgets what only its parent has, such as threads and connections."""

import os
from collections.abc import Callable


def in_each_child(forget: Callable[[], object]) -> None:
    """Call ``forget`` in each child that is forked from now on. On Windows no process forks."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=forget)
