"""Writes src/s3writer/_s3/argument_types.py, the types of S3's arguments, from botocore's service model:
``python -m tests.s3_arguments``. A test compares the file with the installed botocore.
"""

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import botocore.session

from s3writer._s3 import arguments
from s3writer._s3.operations import COMPLETE, CREATE, PART, PUT, UPLOADS, Operation

MADE = Path(__file__).parents[1] / "src" / "s3writer" / "_s3" / "argument_types.py"

_TOP = '''"""The types of S3's arguments. ``python -m tests.s3_arguments`` makes this file from botocore's model."""

import datetime as dt
from typing import Literal, TypedDict
'''

#: botocore takes these for a shape of the model.
_TYPES = {
    "boolean": "bool",
    "integer": "int",
    "long": "int",
    "map": "dict[str, str]",
    "string": "str",
    "timestamp": "dt.datetime | str",
}

#: The writer makes base64 text of a customer's key.
_WIDER = {"SSECustomerKey": "str | bytes | bytearray"}

#: Each class, the one it extends, the operations whose arguments it has, and its docstring.
_CLASSES: list[tuple[str, str, tuple[Operation, ...], str]] = [
    (
        "ListArguments",
        "TypedDict",
        (UPLOADS,),
        "The arguments that S3 takes when uploads are listed.",
    ),
    (
        "PartArguments",
        "ListArguments",
        (PART,),
        "The arguments that S3 takes with each part.",
    ),
    (
        "CommitArguments",
        "PartArguments",
        (PART, COMPLETE),
        "The arguments that S3 takes once an upload has begun.",
    ),
    (
        "S3Arguments",
        "CommitArguments",
        (PUT, CREATE, PART, COMPLETE),
        "S3's own arguments, as a writer takes them. Names and values are those of boto3's ``put_object``.",
    ),
]


def module(model: Any) -> str:
    """The module's text for this service model."""
    written: set[str] = set()
    classes = []
    for name, base, operations, docstring in _CLASSES:
        shapes = {name: shape for one in operations for name, shape in _members(model, one) if name not in written}
        written |= shapes.keys()
        fields = "".join(f"    {name}: {_type(name, shape)}\n" for name, shape in sorted(shapes.items()))
        classes.append(f'class {name}({base}, total=False):\n    """{docstring}"""\n\n{fields}')
    text = "\n\n".join([_TOP, *classes])
    ruff = [sys.executable, "-m", "ruff", "format", "--stdin-filename", str(MADE), "-"]
    return subprocess.run(ruff, input=text, capture_output=True, text=True, encoding="utf-8", check=True).stdout


def _members(model: Any, operation: Operation) -> Iterable[tuple[str, Any]]:
    """What a caller may give: the arguments of ``operation`` that `arguments.Arguments` does not refuse."""
    taken = {name for one in (PUT, CREATE, PART, COMPLETE) for name in _shapes(model, one)}
    for name, shape in _shapes(model, operation).items():
        if name in taken and not arguments.is_ours(name):
            yield name, shape


def _shapes(model: Any, operation: Operation) -> dict[str, Any]:
    return dict(model.operation_model(operation.name).input_shape.members)


def _type(name: str, shape: Any) -> str:
    if values := getattr(shape, "enum", None):
        return f"Literal[{', '.join(map(repr, values))}] | str"  # a newer S3, or another store, may take others
    return _WIDER.get(name, _TYPES[shape.type_name])


if __name__ == "__main__":
    MADE.write_text(module(botocore.session.get_session().get_service_model("s3")), encoding="utf-8")
