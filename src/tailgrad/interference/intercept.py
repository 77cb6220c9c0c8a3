"""One call of a model, seen from outside: its arguments before, its result after, and nothing left behind."""

from collections.abc import Callable
from types import TracebackType
from typing import Any

from torch import nn

Enter = Callable[[Callable[..., Any], tuple[Any, ...], dict[str, Any]], bool]
"""(what is called, its arguments) -> whether to be told of the result"""

_METHODS = ("forward", "outputs")


class Intercept:
    """Stands before ``model.forward`` and ``model.outputs`` until closed.

    Instance attributes are used, not hooks: a hook is not told of every way in which a forward pass can end.

    Args:
        model: the module that is called.
        enter: asked before each outermost call.
        leave: told of the result, or of None where the call raised.

    Example:
        >>> model, seen = nn.Identity(), []
        >>> with Intercept(model, lambda f, args, kwargs: True, seen.append):
        ...     model(7)
        7
        >>> seen, "forward" in vars(model)
        ([7], False)
    """

    def __init__(self, model: nn.Module, enter: Enter, leave: Callable[[Any], None]) -> None:
        self._model, self._enter, self._leave = model, enter, leave
        self._is_open, self._is_inside = True, False
        self._before = {name: vars(model)[name] for name in _METHODS if name in vars(model)}
        for name in _METHODS:
            if callable(method := getattr(model, name, None)):
                vars(model)[name] = self._around(method)

    def close(self) -> None:
        """Take everything away; what still holds the stand-in only passes through it."""
        if not self._is_open:
            return
        self._is_open = False
        for name in _METHODS:
            vars(self._model).pop(name, None)
        vars(self._model).update(self._before)

    def _around(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if not self._is_open or self._is_inside:
                return method(*args, **kwargs)
            self._is_inside = True
            try:
                return self._watched(method, args, kwargs)
            finally:
                self._is_inside = False

        return call

    def _watched(self, method: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not self._enter(method, args, kwargs):
            return method(*args, **kwargs)
        try:
            result = method(*args, **kwargs)
        except BaseException:
            self._leave(None)
            raise
        self._leave(result)
        return result

    def __enter__(self) -> "Intercept":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
