"""The setting ``S3WRITER``."""

from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from s3writer._s3 import client as _client
from s3writer._s3.arguments import Arguments
from s3writer._s3.operations import HEAD

#: What the commands decide themselves: Django reads fixtures in UTF-8.
_RESERVED = {"encoding", "errors", "newline", "compression", "progress", "on_error"}


def writer_options() -> dict[str, Any]:
    """The options of a writer; the client, where one is named, is made anew. ImproperlyConfigured if they can't be."""
    given = getattr(settings, "S3WRITER", {})
    if not isinstance(given, dict):
        raise ImproperlyConfigured(f"S3WRITER must be a dict, not {type(given).__name__}")
    if reserved := given.keys() & _RESERVED:
        raise ImproperlyConfigured(f"S3WRITER can't have {', '.join(sorted(reserved))}: the commands set that")
    options = dict(given)
    if "client" in options:
        if not isinstance(options["client"], str):
            raise ImproperlyConfigured("S3WRITER['client'] must be the dotted path of a function that makes a client")
        options["client"] = import_string(options["client"])()
    return options


def read_arguments() -> tuple[Any, dict[str, Any]]:
    """A client, and those of S3's arguments that reading takes as well, such as the key of SSE-C."""
    options = writer_options()
    client = _client.chosen(options.pop("client", None))
    of_s3 = {name: value for name, value in options.items() if name[:1].isupper()}
    return client, Arguments(client.meta.service_model, of_s3).of(HEAD)
