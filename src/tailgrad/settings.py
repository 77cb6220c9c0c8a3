"""What an object was built with, for whoever prints it."""

import inspect
from collections.abc import Callable, Mapping, Sized
from functools import wraps
from numbers import Real
from typing import Any

_LONGEST, _FEW = 60, 6


class Settings:
    """Notes what ``__init__`` was given, for ``extra_repr``; goes before ``nn.Module`` among the bases.

    A number or a name that the object still holds under the argument's name is shown as it is now.

    Example:
        >>> class Loss(Settings):
        ...     def __init__(self, counts, *, gamma=2.0, prior=None):
        ...         self.gamma = gamma
        >>> loss = Loss([100, 10])
        >>> loss.gamma = 3.0
        >>> loss.extra_repr()
        'counts=[100, 10], gamma=3'
    """

    _built_with: Mapping[str, str] = {}

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "__init__" in vars(cls):
            cls.__init__ = _noting(cls.__init__)  # type: ignore[method-assign]  # the same, with a note

    def extra_repr(self) -> str:
        """Arguments by name; those that are None are left out."""
        held = {name: vars(self).get(name) for name in self._built_with}
        now = {name: _text(value) if isinstance(value, Real | str) else "" for name, value in held.items()}
        shown = {name: now[name] or text for name, text in self._built_with.items()}
        return ", ".join(f"{name}={text}" for name, text in shown.items() if text != "None")


class Shown(Settings):
    """The same for what is no module: its ``repr`` holds the settings.

    Example:
        >>> class Sampler(Shown):
        ...     def __init__(self, target, seed=0): ...
        >>> Sampler(range(111), 7)
        Sampler(target=<111 values>, seed=7)
    """

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.extra_repr()})"


def _noting(init: Callable[..., None]) -> Callable[..., None]:
    signature = inspect.signature(init)

    @wraps(init)
    def noting(self: object, *args: Any, **options: Any) -> None:
        if "_built_with" not in vars(self):  # else a subclass has noted what it was given
            vars(self)["_built_with"] = _noted(signature, self, args, options)
        init(self, *args, **options)

    return noting


def _noted(
    signature: inspect.Signature, built: object, args: tuple[Any, ...], options: Mapping[str, Any]
) -> dict[str, str]:
    try:
        bound = signature.bind(built, *args, **options)
    except TypeError:  # which the constructor itself says better
        return {}
    bound.apply_defaults()
    return {name: _text(value) for name, value in list(bound.arguments.items())[1:]}


def _text(value: object) -> str:
    """A value as text that keeps no hold of it; what is long by its kind and length."""
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Sized) and not isinstance(value, str) and _is_many(value):
        return f"<{len(value)} values>"
    if hasattr(value, "modules"):  # a network is long, and takes its time
        return type(value).__name__
    text = repr(value)
    plain = len(text) <= _LONGEST and "\n" not in text and " at 0x" not in text
    return text if plain else getattr(value, "__name__", type(value).__name__)


def _is_many(value: Sized) -> bool:
    try:
        return len(value) > _FEW or hasattr(value, "dtype")
    except TypeError:  # a tensor of no dimension has no length
        return False
