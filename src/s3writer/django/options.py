"""The setting ``S3WRITER``."""

import re
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from s3writer._s3 import client as _client
from s3writer._s3.arguments import Arguments
from s3writer._s3.operations import HEAD

#: What the commands decide themselves: Django reads fixtures in UTF-8.
_RESERVED = {"encoding", "errors", "newline", "compression", "progress", "on_error"}
#: The key of those options that only uploads from browsers get.
_UPLOADS = "uploads"

#: Parameters that the setting has. One without an underscore may also be a word of English.
_LONG = "part_size|max_concurrency|max_memory|expected_size|exact_size|equal_parts|commit_token|allow_dot_segments"
_NAME = re.compile(rf"(?<![\w/.=-])(?:({_LONG})(?![\w/-])|(checksum|client)(?==))")
_PHRASES = {
    "url=": "",
    "exclusive=True": "--exclusive",
    "Make the client with": "Let the function that S3WRITER['client'] names make a client with",
}


def writer_options() -> dict[str, Any]:
    """The options of a writer; the client, where one is named, is made anew. ImproperlyConfigured if they can't be."""
    options = _given()
    options.pop(_UPLOADS, None)
    if "client" in options:
        options["client"] = import_string(options["client"])()
    return options


def read_arguments() -> tuple[Any, dict[str, Any]]:
    """A client, and those of S3's arguments that reading takes as well, such as the key of SSE-C."""
    options = writer_options()
    client = _client.chosen(options.pop("client", None))
    of_s3 = {name: value for name, value in options.items() if name[:1].isupper()}
    return client, Arguments(client.meta.service_model, of_s3).of(HEAD)


def in_settings(text: str, url: str) -> str:
    """``text`` with options and settings in the place of parameters: ``S3WRITER['part_size']`` for ``part_size``. The
    ``url`` in it is left as it is.
    """

    def said(piece: str) -> str:
        for phrase, other in _PHRASES.items():
            piece = piece.replace(phrase, other)
        return _NAME.sub(lambda found: f"S3WRITER['{found[0]}']", piece)

    return url.join(map(said, text.split(url)))


def upload_options(**of_handler: Any) -> dict[str, Any]:
    """The options of an upload handler: those of the settings, and over them ``of_handler``. TypeError if it can't be.
    The client, if the settings name one, is made once in each process.
    """
    check_of_handler(of_handler)
    options = _given()
    own = options.pop(_UPLOADS, {})
    if not isinstance(own, dict):
        raise ImproperlyConfigured(f"S3WRITER['uploads'] must be a dict, not {type(own).__name__}")
    _check(own, f"S3WRITER[{_UPLOADS!r}]")
    options |= own
    if "client" in options:
        options["client"] = _client.client_of(import_string(options["client"]))
    return options | of_handler


def check_of_handler(options: dict[str, Any]) -> None:
    """TypeError if an upload handler can't have these options."""
    if reserved := options.keys() & _RESERVED:
        raise TypeError(f"S3UploadHandler can't have {', '.join(sorted(reserved))}: s3writer sets that")


def _given() -> dict[str, Any]:
    """A copy of the setting, checked."""
    given = getattr(settings, "S3WRITER", {})
    if not isinstance(given, dict):
        raise ImproperlyConfigured(f"S3WRITER must be a dict, not {type(given).__name__}")
    _check(given, "S3WRITER")
    return dict(given)


def _check(given: dict[str, Any], name: str) -> None:
    if reserved := given.keys() & _RESERVED:
        raise ImproperlyConfigured(f"{name} can't have {', '.join(sorted(reserved))}: s3writer sets that")
    if not isinstance(given.get("client", ""), str):
        raise ImproperlyConfigured(f"{name}['client'] must be the dotted path of a function that makes a client")
