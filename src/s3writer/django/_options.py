"""The setting ``S3WRITER``."""

from typing import Any

from django.conf import settings
from django.utils.module_loading import import_string

from s3writer import _client


def writer_options() -> dict[str, Any]:
    """The options of a writer; the client, where one is named, is made anew."""
    options = dict(getattr(settings, "S3WRITER", {}))
    if path := options.get("client"):
        options["client"] = import_string(path)()
    return options


def read_arguments() -> tuple[Any, dict[str, Any]]:
    """A client, and those of S3's arguments that reading takes as well, such as the key of SSE-C."""
    options = writer_options()
    client = _client.chosen(options.pop("client", None))
    known = client.meta.service_model.operation_model("GetObject").input_shape.members
    return client, {name: value for name, value in options.items() if name in known}
