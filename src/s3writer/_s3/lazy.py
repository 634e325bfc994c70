"""Modules that are imported when something of them is first asked for: botocore takes longer than all of the rest."""

from importlib import import_module
from typing import Any


class Lazy:
    """Stands for the module ``name``."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        return getattr(import_module(self._name), attribute)
