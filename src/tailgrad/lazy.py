"""Packages whose public names are imported on first use, so that a light import stays light."""

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from types import ModuleType
from typing import Any


class LazyPackage(ModuleType):
    """A package in which a file never takes the place of the function of the same name.

    Example:
        >>> import tailgrad.data
        >>> from tailgrad.data.audit import Audit
        >>> isinstance(tailgrad.data, LazyPackage), callable(tailgrad.data.audit)
        (True, True)
    """

    _home: Mapping[str, str]

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in self._home and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


def lazy_package(package: str, home: Mapping[str, str]) -> Callable[[str], Any]:
    """Make a package that is being imported resolve its public names on use.

    Args:
        package: its ``__name__``.
        home: the file in the package, without its ending, that each public name stands in.

    Returns:
        What the package must call ``__getattr__``.

    Example: the ``__init__`` of ``tailgrad.data``.
    """
    module = sys.modules[package]
    module.__dict__["_home"] = dict(home)
    module.__dict__["__dir__"] = lambda: sorted({*module.__dict__, *home})
    module.__class__ = LazyPackage

    def resolve(name: str) -> Any:
        if name not in home:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f"{package}.{home[name]}"), name)

    return resolve
