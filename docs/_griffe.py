"""What the reference shows otherwise than the source: defaults as values, and names as links."""

import importlib
import re
from typing import Any

import griffe

import s3writer
import s3writer.aio
import s3writer.segments
import s3writer.testing

MIB = 1024**2
MODULES = (s3writer, s3writer.segments, s3writer.testing)
#: Each public name, and where it is imported from.
PUBLIC = {name: module.__name__ for module in MODULES for name in module.__all__}
#: The same for the docstrings of `s3writer.aio`, which has an ``open`` of its own.
PUBLIC_IN_AIO = PUBLIC | dict.fromkeys(s3writer.aio.__all__, "s3writer.aio")


class Reference(griffe.Extension):
    """Called by mkdocstrings with each object of the package."""

    def on_function(self, *, func: griffe.Function, **_: Any) -> None:
        """Show the value of a default, and of a type, that the source gives by the name of a constant."""
        for parameter in func.parameters:
            if isinstance(parameter.default, griffe.ExprName) and (value := constant(func, parameter.default.name)):
                parameter.default = f"{value // MIB} * 1024**2" if value % MIB == 0 else str(value)
            if isinstance(parameter.annotation, griffe.ExprName):
                alias = func.module.members.get(parameter.annotation.name)
                if isinstance(alias, griffe.Alias) and alias.target_path.startswith("s3writer.options."):
                    alias = alias.final_target
                if isinstance(alias, griffe.Attribute) and alias.value is not None:
                    parameter.annotation = alias.value

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Link the names in single backticks that the reference explains, except an object's own."""
        if obj.docstring is None:
            return
        owner = obj if obj.is_class else obj.parent
        public = PUBLIC_IN_AIO if obj.path.startswith("s3writer.aio.") else PUBLIC

        def linked(found: re.Match[str]) -> str:
            name = found[1]
            if name == obj.name:
                return found[0]
            if (
                owner is not None
                and owner.is_class
                and owner.name in public
                and name in owner.members
                and name[0] != "_"
            ):
                return f"[`{name}`][{public[owner.name]}.{owner.name}.{name}]"
            return f"[`{name}`][{public[name]}.{name}]" if name in public else found[0]

        obj.docstring.value = re.sub(r"(?<![`\[])`(\w+)`(?!`)", linked, obj.docstring.value)


def constant(func: griffe.Function, name: str) -> int | None:
    """The number that the function's module calls by this name."""
    try:
        module = importlib.import_module(func.module.path)
    except ImportError:  # of a package that only an edge needs, and that is not installed here
        return None
    value = getattr(module, name, None)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
