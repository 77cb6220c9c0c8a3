"""What code of the user's own is, so that one that was edited is not taken for the one before."""

import ast
import hashlib
import inspect
import json
import sys
import sysconfig
import textwrap
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import tailgrad

OWN = "own:"
"""What the name of a loss of the user's own begins with."""
CODE = "source_sha256"
"""Among its options: the hash of its code."""
_DOCUMENTED = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
_PLAIN = (bool, int, float, complex, str, bytes, type(None))
_FOLDERS = [Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
_FOLDERS.append(Path(tailgrad.__file__).parent)


def code_sha256(item: Any) -> str:
    """16 hexadecimal digits over the source of a class or function and of the own code that it uses.

    Used are base classes, functions, classes, whole modules and plain constants of the user's own, found by
    name. Comments, blank lines and docstrings do not count. Where there is no source, as at a prompt, the
    compiled code stands in for it.

    Args:
        item: a class, a function, or a ``functools.partial`` of one.

    Example:
        >>> def half(counts): return sum(counts) / 2
        >>> def third(counts): return sum(counts) / 3
        >>> code_sha256(half) == code_sha256(half), code_sha256(half) == code_sha256(third)
        (True, False)
    """
    walk = _Walk(item)
    return hashlib.sha256(json.dumps(sorted(walk.texts)).encode()).hexdigest()[:16]


def own_codes(item: Any) -> set[CodeType]:
    """The compiled code of every function in the own code of an item: what a traceback's frames hold.

    Args:
        item: as for ``code_sha256``.

    Example:
        >>> def half(counts): return sum(counts) / 2
        >>> own_codes(half) == {half.__code__}
        True
    """
    return _Walk(item).codes


def plain(value: Any) -> Any:
    """A setting as text files can hold it.

    Raises:
        TypeError: it is not made of numbers, texts, lists and mappings.

    Example:
        >>> plain({"most": 0.2, "sizes": (1, 2)})
        {'most': 0.2, 'sizes': [1, 2]}
    """
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, bool | int | float | str | None):
        return value
    raise TypeError(f"a {type(value).__name__}")


class _Walk:
    """The texts and codes of an item and of all own code that can be reached from it by name."""

    def __init__(self, item: Any) -> None:
        self.texts: set[str] = set()
        self.codes: set[CodeType] = set()
        self._seen: set[int] = set()
        self._add(item)

    def _add(self, item: Any) -> None:
        item = inspect.unwrap(item.func if isinstance(item, partial) else item)
        if id(item) in self._seen:
            return
        self._seen.add(id(item))
        # Without the module: the same code may be a script one day and a module the next.
        name = str(getattr(item, "__qualname__", type(item).__name__))
        functions = list(_functions(item))
        self.texts.add(f"{name}: {_source(item) or _compiled(item, functions)}")
        for base in getattr(item, "__mro__", (item,))[1:]:
            self._follow(name, base.__name__, base)
        for function in functions:
            self.codes.add(function.__code__)
            for used, value in _used(function):
                self._follow(name, used, value)

    def _follow(self, name: str, used: str, value: Any) -> None:
        if isinstance(value, ModuleType) and _is_own(value):
            self.texts.add(f"{value.__name__}: {_file_text(value)}")
        elif isinstance(value, type | FunctionType | partial) and _is_own(_home(value)):
            self._add(value)
        elif (text := _constant(value)) is not None:
            self.texts.add(f"{name}, {used}: {text}")


def _home(item: Any) -> ModuleType | None:
    named = item.func if isinstance(item, partial) else item
    return sys.modules.get(getattr(named, "__module__", None) or "")


def _is_own(module: ModuleType | None) -> bool:
    """Whether a module is neither of Python, nor installed, nor of this package."""
    if module is None or module.__name__ in sys.builtin_module_names:
        return False
    file = getattr(module, "__file__", None)
    return file is None or not any(Path(file).is_relative_to(folder) for folder in _FOLDERS)


def _functions(item: Any) -> Iterator[FunctionType]:
    """The functions of a class, or the function itself, without what decorates them."""
    for value in vars(item).values() if isinstance(item, type) else [item]:
        inner = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
        inner = inspect.unwrap(inner) if callable(inner) else inner
        if isinstance(inner, FunctionType):
            yield inner


def _used(function: FunctionType) -> Iterator[tuple[str, Any]]:
    """Names that a function looks up outside itself, with what they stand for."""
    names = set(_names(function.__code__))
    yield from ((name, value) for name, value in function.__globals__.items() if name in names)
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield name, cell.cell_contents
        except ValueError:  # not filled yet
            continue
    yield "defaults", [*(function.__defaults__ or ()), *sorted((function.__kwdefaults__ or {}).items())]


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _names(inner)


def _source(item: Any) -> str:
    """The source without comments and docstrings; empty where there is none."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(item)))
    except (OSError, TypeError, SyntaxError):
        return ""
    return _without_docstrings(tree)


def _without_docstrings(tree: ast.Module) -> str:
    for node in ast.walk(tree):
        if isinstance(node, _DOCUMENTED) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)


def _file_text(module: ModuleType) -> str:
    try:
        return _without_docstrings(ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8")))
    except (OSError, SyntaxError, ValueError):
        return ""


def _compiled(item: Any, functions: list[FunctionType]) -> str:
    attributes = {key: _constant(value) for key, value in vars(item).items() if isinstance(item, type)}
    known = {key: text for key, text in attributes.items() if text is not None and not key.startswith("__")}
    return repr(([_shape(function.__code__) for function in functions], sorted(known.items())))


def _shape(code: CodeType) -> Any:
    """What code does, without where it stands."""
    constants = [_shape(c) if isinstance(c, CodeType) else _constant(c) for c in code.co_consts]
    return code.co_code.hex(), code.co_names, code.co_varnames, constants


def _constant(value: Any) -> str | None:
    """A plain value in text that is the same in every process; None for anything else."""
    if isinstance(value, _PLAIN):
        return repr(value)
    if isinstance(value, Mapping):
        value = list(value.items())
    if not isinstance(value, list | tuple | set | frozenset):
        return None
    inner = [_constant(one) or type(one).__name__ for one in value]
    return repr(sorted(inner) if isinstance(value, set | frozenset) else inner)
