"""Modules that a loss carries for the step that uses them."""

from typing import TypeVar

from torch import nn

from tailgrad.checks import InputError

Kind = TypeVar("Kind", bound=nn.Module)


def carried(loss: nn.Module, name: str, kind: type[Kind]) -> Kind:
    """The submodule ``name`` of a loss, added with ``loss.add_module``: it moves and is stored with the loss.

    Raises:
        InputError: there is none, or it is of another kind.

    Example:
        >>> loss = nn.CrossEntropyLoss()
        >>> loss.add_module("gap", nn.Identity())
        >>> carried(loss, "gap", nn.Identity)
        Identity()
    """
    found = dict(loss.named_children()).get(name)
    if isinstance(found, kind):
        return found
    raise InputError(
        f"the loss must carry a {kind.__name__}, got {type(loss).__name__} with {name}={found!r}; call "
        f"loss.add_module({name!r}, {kind.__name__}(...))"
    )
