"""From what a user names to a configuration: source, recipe, regime, method, overrides."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from tailgrad.checks import InputError, one_of
from tailgrad.data import Source
from tailgrad.recipes.assemble import device_of, head_name
from tailgrad.recipes.combinations import check_combine
from tailgrad.recipes.components import check_names, check_options, components
from tailgrad.recipes.compose import ABOUT, compose, merge, overlay
from tailgrad.recipes.config import Config
from tailgrad.recipes.own_code import OWN
from tailgrad.recipes.own_loss import MakeLoss, is_factory, own_name, own_options, unwrapped
from tailgrad.recipes.prepare import open_config
from tailgrad.recipes.row_checks import check_rows
from tailgrad.recipes.stepping import check_together
from tailgrad.recipes.task import task_of
from tailgrad.recipes.thinning import split_seed


def configure(
    source: Any,
    recipe: str | None = None,
    *,
    method: Any = None,
    regime: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    opened: Any = None,
) -> tuple[Config, Source]:
    """The configuration of a run and its source, opened unless it is already.

    Raises:
        InputError: a name, key or value is unknown, or the source cannot be opened.

    Example:
        >>> configure("digits-lt", "csba-paper")[0].optim.lr
        0.0001
    """
    named = overlay("recipes", recipe) if recipe is not None else {}
    text = str(source) if isinstance(source, str | Path) else "python"
    top = {k: v for k, v in named.items() if k not in {"regime", "method", *ABOUT}}
    above = merge(top, overrides or {})
    method, regime = method or named.get("method"), regime or named.get("regime")
    wanted = as_overlay(method or "baseline")
    # A misspelt name is refused before a large source is opened.
    for kind, name in (("methods", wanted), ("regimes", regime)):
        if isinstance(name, str):
            overlay(kind, name)
    if not isinstance(opened, Source):
        probe = compose(text, regime or "quick", "baseline", {k: v for k, v in above.items() if k == "data"})
        opened = open_config(probe, None if text != "python" else source)
    task = task_of(opened)
    config = task.settled(compose(text, regime or opened.regime, wanted if method else task.method, above))
    _check(config, opened)
    return config, opened


def _check(config: Config, opened: Source) -> None:
    if config.focus is not None:
        one_of("focus", config.focus, opened.class_names)
    check_names(config)
    task_of(opened).check(config)
    check_rows(config, opened)
    check_options("heads", head_name(config), config.head.options, skip=2)
    check_combine(config.combine)
    check_together(config)
    device_of(config.train.device)


def as_overlay(method: Any) -> str | Mapping[str, Any]:
    """A method as a name or an overlay; what makes a loss stands for it on the regime's default head.

    Args:
        method: name, YAML file, overlay, loss class, function of the class counts, or ``functools.partial``
            of one of the last two. Settings and a hash of code of the user's own go into the overlay.

    Raises:
        InputError: it is none of these.

    Example:
        >>> from functools import partial
        >>> from tailgrad.losses import FocalLoss
        >>> as_overlay(partial(FocalLoss, gamma=1.0))["loss"]
        {'name': 'focal', 'options': {'gamma': 1.0}}
    """
    if isinstance(method, str | Path | Mapping):
        return str(method) if isinstance(method, Path) else method
    if isinstance(method, nn.Module):
        kind = type(method).__name__
        raise InputError(
            f"method must make a loss for the class counts of every split, got a {kind} that is made; give "
            f"the class {kind}, or functools.partial({kind}, name=value)"
        )
    made, settings = unwrapped(method)
    for name, item in components("losses").items():
        if made is item:
            return {"name": name, "loss": {"name": name, "options": settings}}
    if is_factory(made):
        name = own_name(made)
        return {"name": name, "loss": {"name": f"{OWN}{name}", "options": own_options(method, settings)}}
    raise InputError(
        "method must be a name, a YAML file, an overlay, a loss class or a function of the class counts, got "
        f"{method!r}; see `tailgrad methods`"
    )


def by_name(methods: Any) -> list[tuple[str, Any]]:
    """Methods with their names, in order: those of a mapping, else each one's own.

    Example:
        >>> by_name(["csba", "mine.yaml"])
        [('csba', 'csba'), ('mine', 'mine.yaml')]
    """
    if isinstance(methods, Mapping):
        return list(methods.items())
    return [(_own_name(method), method) for method in methods]


def _own_name(method: Any) -> str:
    if isinstance(method, str | Path):
        return Path(method).stem
    found = as_overlay(method)
    return str(found.get("name", "own") if isinstance(found, Mapping) else found)


def own_losses(methods: Any) -> dict[str, MakeLoss]:
    """What makes losses of the user's own among methods, by the method's name.

    Example:
        >>> own_losses({"a": "csba", "mine": nn.CrossEntropyLoss})
        {'mine': <class 'torch.nn.modules.loss.CrossEntropyLoss'>}
    """
    known = list(components("losses").values())
    made = {name: method for name, method in by_name(methods) if callable(method)}
    return {name: method for name, method in made.items() if unwrapped(method)[0] not in known}


def run_name(source: Source, config: Config) -> str:
    """The folder name of a run: ``<data>.<regime>.<method>.split<i>.seed<j>``.

    Raises:
        InputError: regime or method have names that lead to another folder.

    Example:
        >>> from tailgrad.data import open_source
        >>> run_name(open_source("digits-lt"), compose("digits-lt", "digits", "csba"))
        'digits-lt.digits.csba.split0.seed0'
    """
    split = split_seed(config, "test" in source.given)
    name = f"{source.name}.{config.regime}.{config.method}.split{split}.seed{config.seed}"
    if Path(name).name != name or "\0" in name:
        raise InputError(
            f"regime and method must have names that can name a folder, got {config.regime!r} and "
            f"{config.method!r}; rename them"
        )
    return name
