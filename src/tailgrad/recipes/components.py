"""Classes by name, derived from each folder's ``__all__``: no second list."""

import inspect
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from tailgrad.checks import InputError, nearest, one_of
from tailgrad.heads.names import snake_case
from tailgrad.models.create_model import BACKBONES, TIMM
from tailgrad.recipes.config import Config


def snake(name: str) -> str:
    """The name used in recipes for a class.

    Example:
        >>> snake("CrossEntropyLoss"), snake("CSBA"), snake("BranchSum")
        ('cross_entropy', 'csba', 'branch_sum')
    """
    return snake_case(name.removesuffix("Loss") or name)


def components(folder: str) -> dict[str, type]:
    """The classes that a folder exports, by the names used in recipes.

    Example:
        >>> "flip" in components("augment")
        True
    """
    module = import_module(f"tailgrad.{folder}")
    exported = {name: getattr(module, name) for name in module.__all__}
    return {snake(name): item for name, item in exported.items() if inspect.isclass(item)}


OWN = "own:"
"""What the name of a loss class of the user's own begins with."""


def check_names(config: Config) -> None:
    """Check the names of backbone, head, loss and augmentations, before any work is done for them.

    Raises:
        InputError: one is unknown; the nearest one is given.

    Example:
        >>> check_names(Config(source="x", loss={"name": "focl"}))
        Traceback (most recent call last):
        ...
        tailgrad.checks.InputError: loss.name must be a known name, got 'focl'; did you mean 'focal'?
    """
    if not config.model.name.startswith(TIMM):
        one_of("model.name", config.model.name, [*BACKBONES, f"{TIMM}<name>"])
    one_of("head.name", config.head.name, ["baseline", *components("heads")])
    if not config.loss.name.startswith(OWN):
        one_of("loss.name", config.loss.name, components("losses"))
    for name in config.train.augment:
        one_of("train.augment", name, components("augment"))


def build(folder: str, name: str, options: Mapping[str, Any], *arguments: Any) -> Any:
    """Make a component from its name, its positional arguments and the recipe's options.

    Raises:
        InputError: the name or an option is unknown; the nearest one is given.

    Example:
        >>> build("augment", "flip", {"p": 1.0}).p
        1.0
    """
    made = check_options(folder, name, options, skip=len(arguments))
    try:
        return made(*arguments, **options)
    except TypeError as error:
        raise InputError(
            f"{_section(folder)}.options must fit {name}, got {dict(options)} ({error}); mend them"
        ) from error


def check_options(folder: str, name: str, options: Mapping[str, Any], *, skip: int) -> Any:
    """The class of a component, if its name and the names of its options are known.

    Args:
        folder: "heads", "losses" or "augment".
        name: of the component.
        options: from the recipe.
        skip: number of arguments that do not come from the recipe.

    Raises:
        InputError: the name or an option is unknown; the nearest one is given.

    Example:
        >>> check_options("augment", "flip", {"p": 1.0}, skip=0).__name__
        'Flip'
    """
    made = components(folder)[one_of(f"{_section(folder)}.name", name, components(folder))]
    known = [p.name for p in inspect.signature(made).parameters.values()][skip:]
    for option in options:
        if option not in known:
            raise InputError(
                f"{_section(folder)}.options.{option} is not an option of {name}; {nearest(option, known)}"
            )
    return made


def _section(folder: str) -> str:
    return {"heads": "head", "losses": "loss"}.get(folder, folder)
