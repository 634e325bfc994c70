"""Imports on first use: boto3, botocore and awscrt take longer to import than everything else here."""

from importlib import import_module
from typing import Any


class Lazy:
    """Stands for the module ``name``, and imports it when an attribute is used."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        return getattr(import_module(self._name), attribute)
