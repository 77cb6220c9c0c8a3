"""What ``combine.name`` may be, with its options, derived from the exports of ``tailgrad.optim``."""

import inspect
from typing import Any

from tailgrad.checks import InputError, nearest, one_of
from tailgrad.optim import Combiner, GapWeights, ShareBalancer
from tailgrad.recipes.components import components
from tailgrad.recipes.config import CombineConfig

NONE = "none"
FILLED_IN = ("num_classes", "after")
"""Arguments that come from the data and the model, not from a recipe."""


def combinations() -> dict[str, type]:
    """Combiners and modules of ``tailgrad.optim`` by the names of their files.

    Example:
        >>> combinations()["pcgrad"].__name__
        'PCGrad'
    """
    found = components("optim").values()
    return {
        item.__module__.rpartition(".")[2]: item
        for item in found
        if issubclass(item, (Combiner, ShareBalancer, GapWeights)) and not inspect.isabstract(item)
    }


def combination_options(name: str) -> dict[str, Any]:
    """Options that a recipe may give, with their defaults; None for one that has to be worked out.

    Example:
        >>> combination_options("cagrad")
        {'c': 0.5, 'scale': 'mean'}
    """
    parameters = inspect.signature(combinations()[name]).parameters.values()
    return {
        p.name: None if p.default is p.empty else p.default for p in parameters if p.name not in FILLED_IN
    }


def kind_of(combine: CombineConfig) -> type | None:
    """The class named, None for ``none``.

    Example:
        >>> kind_of(CombineConfig()) is None, kind_of(CombineConfig(name="mgda")).__name__
        (True, 'MGDA')
    """
    return None if combine.name == NONE else combinations()[combine.name]


def is_combiner(combine: CombineConfig) -> bool:
    """Whether the name is that of a method that combines class gradients inside the optimiser.

    Example:
        >>> is_combiner(CombineConfig(name="mgda")), is_combiner(CombineConfig(name="share_balancer"))
        (True, False)
    """
    kind = kind_of(combine)
    return kind is not None and issubclass(kind, Combiner)


def check_combine(combine: CombineConfig) -> None:
    """Check the names and which keys apply, before any work is done.

    Raises:
        InputError: the name or an option is unknown, or a key does not apply to this method.

    Example:
        >>> check_combine(CombineConfig(name="pcgard"))
        Traceback (most recent call last):
        ...
        tailgrad.checks.InputError: combine.name must be a known name, got 'pcgard'; did you mean 'pcgrad'?
    """
    one_of("combine.name", combine.name, [NONE, *combinations()])
    known = {} if combine.name == NONE else combination_options(combine.name)
    for option in combine.options:
        if option not in known:
            hint = nearest(option, known) if known else "it takes none"
            raise InputError(f"combine.options.{option} is not an option of {combine.name}; {hint}")
    for key in () if is_combiner(combine) else ("parameters", "prior"):
        value, default = getattr(combine, key), CombineConfig.model_fields[key].default
        if value != default:
            raise InputError(
                f"combine.{key} is for methods that combine class gradients, got {value!r} with "
                f"combine.name={combine.name}; leave it out"
            )
