"""A griffe extension: this project's docstrings as griffe and Markdown should read them."""

import re
from typing import Any

import griffe


class Docstrings(griffe.Extension):
    """``Example:`` is the section griffe calls ``Examples:``; ``[K][K]`` is a shape and no Markdown link."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Change the docstring of one module, class, function or attribute before it is parsed."""
        if obj.docstring is not None:
            lines = obj.docstring.value.split("\n")
            obj.docstring.value = "\n".join(_shown(line) for line in lines)


def _shown(line: str) -> str:
    if line.lstrip().startswith((">>>", "...")):
        return line
    return re.sub(r"\]\[(\w+)\]", r"]\\[\1]", "Examples:" if line == "Example:" else line)
