"""What holds the house together, beside the levels of imports that import-linter checks."""

import ast
import importlib
import inspect
import pkgutil
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

import pytest

import s3writer
from s3writer import MultipartUploadWriter
from s3writer.testing import MemoryS3
from tests.helpers import MIB, data, logged
from tests.stores import BUCKET

ROOT = Path(__file__).parents[1]


def modules() -> Iterator[ModuleType]:
    """All modules of the package, but for those that need Django to be set up, or s3fs."""
    for found in pkgutil.walk_packages(s3writer.__path__, "s3writer.", onerror=lambda _: None):
        if not found.name.startswith(("s3writer.django", "s3writer.fsspec")) and found.name != "s3writer.__main__":
            yield importlib.import_module(found.name)


def classes() -> Iterator[type]:
    for module in modules():
        for kind in vars(module).values():
            if inspect.isclass(kind) and kind.__module__.startswith("s3writer"):
                yield kind


def private_names(kind: type) -> set[str]:
    """What a class defines for itself alone."""
    return {name for name in vars(kind) if name.startswith("_") and not name.startswith("__")}


def home(kind: type) -> str:
    """The file in which a class is defined; its module says where users import it from."""
    functions = [value for value in vars(kind).values() if inspect.isfunction(value)]
    return functions[0].__code__.co_filename if functions else kind.__module__


def test_no_class_overrides_a_private_name_of_another_module() -> None:
    checked = 0
    for kind in set(classes()):
        for base in kind.__mro__[1:]:
            if base.__module__.startswith("s3writer") and home(base) != home(kind):
                checked += 1
                found = private_names(kind) & private_names(base) - {"_abc_impl", "_is_protocol"}
                assert found == set(), f"{kind.__name__} overrides {found} of {base.__name__}"
    assert checked > 3


ASIDE = [*(ROOT / "benchmarks").glob("*.py"), *(ROOT / "demo").glob("*.py")]


@pytest.mark.parametrize("file", ASIDE, ids=lambda file: file.name)
def test_what_stands_beside_the_package_imports_names_that_it_has(file: Path) -> None:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "s3writer":
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                assert hasattr(importlib.import_module(str(node.module)), alias.name) or importlib.import_module(whole)


def test_only_one_module_starts_threads_or_waits_for_them() -> None:
    users = set()
    for module in modules():
        tree = ast.parse(inspect.getsource(module))
        for node in ast.walk(tree):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if "threading" in names and "threading.Thread(" in inspect.getsource(module):
                users.add(module.__name__)
    assert users == {"s3writer._upload.jobs"}


def test_only_one_function_waits_at_a_simple_queue_for_a_time() -> None:
    sources = {module.__name__: inspect.getsource(module) for module in modules()}
    waiting = {name: source for name, source in sources.items() if "SimpleQueue" in source and ".get(t" in source}
    assert [(name, source.count(".get(t")) for name, source in waiting.items()] == [("s3writer._upload.jobs", 1)]


def test_a_write_that_fills_a_part_passes_six_functions_of_ours_before_the_part_s_thread_has_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    depths: list[list[str]] = []

    def count(frame: FrameType, event: str, called: Any) -> None:
        name = getattr(called, "__qualname__", "")
        if (event == "c_call" and name == "SimpleQueue.put") or (
            event == "call" and frame.f_code is threading.Thread.start.__code__
        ):
            found: list[str] = []
            caller: FrameType | None = frame
            while caller is not None:
                if caller.f_code.co_filename.startswith(str(Path(s3writer.__file__).parent)):
                    found.append(caller.f_code.co_name)
                caller = caller.f_back
            depths.append(found)

    with MemoryS3(BUCKET), logged(), MultipartUploadWriter(BUCKET, "key") as stream:
        payload = data(5 * MIB + 1)
        sys.setprofile(count)
        try:
            stream.write(payload)
        finally:
            sys.setprofile(None)
    of_the_part = [names for names in depths if "send" in names]
    assert [len(names) for names in of_the_part][-1] <= 6, of_the_part
