"""What people write on the command line, as values: sizes, ages, places, pairs, keys."""

import datetime as dt
import re
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from s3writer._file.open import SCHEME, parsed
from s3writer._s3.arguments import CUSTOMER_KEY_BYTES
from s3writer._s3.checksums import algorithms, missing

if TYPE_CHECKING:
    Parameter = click.ParamType
else:

    class Parameter(click.ParamType):
        """``click.ParamType``, which is generic since click 8.4 only."""

        def __class_getitem__(cls, _: Any) -> Any:
            return cls


_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgtp]?)(i?)b?", re.IGNORECASE)
_AGE = re.compile(r"(\d+)([smhdw])")
_AGES = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class Size(Parameter[int]):
    """A number of bytes as people write it: 64MiB, 5GB, 1048576."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Bytes."""
        if isinstance(value, int):
            return value
        if not (found := _SIZE.fullmatch(value.strip())):
            self.fail(f"{value!r} is not a size; write 64MiB, 5GB or a number of bytes", param, ctx)
        number, letter, binary = found.groups()
        return int(Decimal(number) * (1024 if binary else 1000) ** " kmgtp".index(letter.lower() or " "))


class Age(Parameter[dt.timedelta]):
    """A time as people write it: 90m, 36h, 7d, 2w."""

    name = "age"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dt.timedelta:
        """A timedelta."""
        if isinstance(value, dt.timedelta):
            return value
        if not (found := _AGE.fullmatch(value.strip())):
            self.fail(f"{value!r} is not an age; write 90m, 36h, 7d or 2w", param, ctx)
        try:
            return dt.timedelta(**{_AGES[found[2]]: int(found[1])})
        except OverflowError:
            self.fail(f"{value!r} is too long ago", param, ctx)


class Url(Parameter[tuple[str, str]]):
    """``s3://bucket/key``; or the beginning of many keys, which may be empty."""

    name = "url"

    def __init__(self, *, is_prefix: bool = False) -> None:
        self._is_prefix = is_prefix

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        """Bucket and key."""
        try:
            is_bucket = value.startswith(SCHEME) and value.count("/") == SCHEME.count("/")
            return parsed(f"{value}/" if is_bucket and self._is_prefix else value, needs_key=not self._is_prefix)
        except ValueError as error:
            self.fail(str(error).removeprefix("url="), param, ctx)


class Pair(Parameter[tuple[str, str]]):
    """``name=value``."""

    name = "name=value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        """Name and value."""
        name, separator, rest = value.partition("=")
        if not separator or not name:
            self.fail(f"{value!r} is not of the form name=value", param, ctx)
        return name, rest


class Checksum(Parameter[str]):
    """One of S3's algorithms that this installation has, or "none", in small or capital letters."""

    name = "checksum"

    def choices(self) -> list[str]:
        """All of them."""
        return [*sorted(algorithms()), "none"]

    def get_metavar(self, *_: Any, **__: Any) -> str:
        """What the help shows, whatever click's version passes."""
        return f"[{'|'.join(self.choices())}]"

    def shell_complete(self, _: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Those that begin so."""
        return [CompletionItem(name) for name in self.choices() if name.lower().startswith(incomplete.lower())]

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The name as S3 writes it."""
        named = {name.lower(): name for name in self.choices()}
        if value.lower() not in named:
            self.fail(f"{value!r} is not one of {', '.join(self.choices())}{missing(value.upper())}", param, ctx)
        return named[value.lower()]


def files_of_the_shell(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Have the shell complete the name of a file."""
    return [CompletionItem(incomplete, type="file")]


def customer_key(path: Path | None) -> dict[str, Any]:
    """S3's arguments for SSE-C with the 32 bytes of a file. None: no arguments."""
    if path is None:
        return {}
    key = path.read_bytes()
    if len(key) != CUSTOMER_KEY_BYTES:
        raise ValueError(f"{path} holds {len(key)} bytes, but an SSE-C key has {CUSTOMER_KEY_BYTES}")
    return {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": key}
