"""Classes by name, derived from each folder's ``__all__``: no second list."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

from torch import nn
from torch.utils.data import Sampler

from tailgrad.checks import InputError, nearest, one_of
from tailgrad.heads.names import snake_case
from tailgrad.models.create_model import BACKBONES, TIMM
from tailgrad.recipes.config import Config
from tailgrad.recipes.own_code import OWN

NONE = "none"


def snake(name: str) -> str:
    """The name used in recipes for a class.

    Example:
        >>> snake("CrossEntropyLoss"), snake("CSBA"), snake("SquareRootSampler")
        ('cross_entropy', 'csba', 'square_root')
    """
    return snake_case(name.removesuffix("Loss").removesuffix("Sampler") or name)


def _kind(item: type) -> str:
    return getattr(item, "kind", "transform")


_PARTS: dict[str, tuple[str, str, Callable[[type], bool]]] = {
    "heads": ("heads", "head", lambda item: issubclass(item, nn.Module)),
    "losses": ("losses", "loss", lambda item: issubclass(item, nn.Module)),
    "auxiliary": ("losses", "auxiliary", lambda item: getattr(item, "takes", "") == "features"),
    "samplers": ("samplers", "sampler", lambda item: issubclass(item, Sampler)),
    "augment": ("augment", "train.augment", lambda item: _kind(item) == "transform"),
    "mixers": ("augment", "mixing", lambda item: _kind(item) == "mixer"),
    "posthoc": ("posthoc", "posthoc", lambda item: issubclass(item, nn.Module) and item.__name__ != "Chain"),
}
"""What can be named: the folder it lives in, its section of the configuration, which classes count."""


def components(part: str) -> dict[str, type]:
    """The classes that a folder exports, by the names used in recipes.

    Args:
        part: a folder, or ``"mixers"`` (of augment) or ``"auxiliary"`` (losses that take features).

    Example:
        >>> "flip" in components("augment")
        True
    """
    folder, _, counts = _PARTS.get(part, (part, part, lambda _: True))
    module = import_module(f"tailgrad.{folder}")
    # What a folder resolves on use only, and stands on another framework, is never named in a recipe.
    classes = [item for name in module.__all__ if inspect.isclass(item := vars(module).get(name))]
    return {snake(item.__name__): item for item in classes if counts(item)}


def check_names(config: Config) -> None:
    """Check the names of all components, and of their options, before any work is done for them.

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
        check_options("losses", config.loss.name, config.loss.options, skip=1)
    for name in config.train.augment:
        check_options("augment", name, {}, skip=0)
    _check_optional(config)
    for found in config.posthoc:
        check_options("posthoc", found.name, found.options, skip=1)
    for place, stage in enumerate(config.stages):
        parts = {"sampler": ("samplers", stage.sampler), "mixing": ("mixers", stage.mixing)}
        parts |= {"loss": ("losses", stage.loss)} if stage.loss is not None else {}
        for key, (part, named) in parts.items():
            if named is not None and named.name != NONE:
                where = f"stages[{place}].{key}"
                check_options(part, named.name, named.options, skip=1, section=where, also=(NONE,))


def _check_optional(config: Config) -> None:
    check_options("samplers", config.sampler.name, config.sampler.options, skip=1)
    named = {"partner": "samplers", "mixing": "mixers", "auxiliary": "auxiliary"}
    for section, part in named.items():
        found = getattr(config, section)
        if found.name != NONE:
            check_options(part, found.name, found.options, skip=1, section=section, also=(NONE,))


def build(
    part: str,
    name: str,
    options: Mapping[str, Any],
    *arguments: Any,
    filled: Mapping[str, Any] | None = None,
    section: str | None = None,
) -> Any:
    """Make a component from its name, its positional arguments and the recipe's options.

    A ``defer`` or ``phase`` between 0 and 1 is a share of the ``epochs`` filled in.

    Args:
        part: as for ``components``.
        name: of the component.
        options: from the recipe.
        arguments: what comes from data and model.
        filled: arguments by name that are given where the component has them and the recipe does not.
        section: of the configuration, for errors; default that of the part.

    Raises:
        InputError: the name or an option is unknown (the nearest one is given), or a value is out of range.

    Example:
        >>> build("augment", "flip", {"p": 1.0}).p
        1.0
    """
    made = check_options(part, name, options, skip=len(arguments), section=section)
    known = inspect.signature(made).parameters
    given = {key: value for key, value in (filled or {}).items() if key in known} | dict(options)
    if filled and "epochs" in filled:
        given |= _in_epochs(given, filled["epochs"])
    try:
        return made(*arguments, **given)
    except TypeError as error:
        raise InputError(
            f"{section or _section(part)}.options must fit {name}, got {dict(options)} ({error}); mend them"
        ) from error


def _in_epochs(given: Mapping[str, Any], epochs: int) -> dict[str, int]:
    shares = {key: given[key] for key in ("defer", "phase") if isinstance(given.get(key), float)}
    return {key: round(share * epochs) for key, share in shares.items() if 0 < share < 1}


def check_options(
    part: str,
    name: str,
    options: Mapping[str, Any],
    *,
    skip: int,
    section: str | None = None,
    also: Sequence[str] = (),
) -> Any:
    """The class of a component, if its name and the names of its options are known.

    Args:
        part: as for ``components``.
        name: of the component.
        options: from the recipe.
        skip: number of arguments that do not come from the recipe.
        section: of the configuration, for errors; default that of the part.
        also: further names that would do, for errors.

    Raises:
        InputError: the name or an option is unknown; the nearest one is given.

    Example:
        >>> check_options("augment", "flip", {"p": 1.0}, skip=0).__name__
        'Flip'
    """
    where = section or _section(part)
    found = components(part)
    one_of(where if where == "train.augment" else f"{where}.name", name, [*also, *found])
    known = [p.name for p in inspect.signature(found[name]).parameters.values()][skip:]
    for option in options:
        if option not in known:
            hint = nearest(option, known) if known else "it takes none"
            raise InputError(f"{where}.options.{option} is not an option of {name}; {hint}")
    return found[name]


def _section(part: str) -> str:
    return _PARTS[part][1] if part in _PARTS else part
