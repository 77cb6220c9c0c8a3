"""Heads by name, derived from what the folder exports."""

import re
from importlib import import_module

from torch import nn

from tailgrad.checks import one_of


def snake_case(name: str) -> str:
    """A class's name as it is written in recipes.

    Example:
        >>> snake_case("BranchSum"), snake_case("CSBA")
        ('branch_sum', 'csba')
    """
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def _classes() -> dict[str, type[nn.Module]]:
    heads = import_module("tailgrad.heads")
    return {
        snake_case(name): item for name in heads.__all__ if isinstance(item := getattr(heads, name), type)
    }


def head_names() -> tuple[str, ...]:
    """Names of all heads, sorted: each class of ``tailgrad.heads`` in snake case.

    Example:
        >>> head_names()[:2]
        ('branch_softmax', 'branch_sum')
    """
    return tuple(sorted(_classes()))


def head_class(name: str) -> type[nn.Module]:
    """The class of the head called ``name``.

    Raises:
        InputError: there is none; the nearest name is given.

    Example:
        >>> head_class("csba").__name__
        'CSBA'
    """
    classes = _classes()
    return classes[one_of("head", name, sorted(classes))]
