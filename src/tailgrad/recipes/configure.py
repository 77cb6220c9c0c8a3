"""From what a user names to a configuration: source, recipe, regime, method, overrides."""

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from tailgrad.checks import InputError, one_of
from tailgrad.data import Source
from tailgrad.recipes.assemble import (
    MakeLoss,
    device_of,
    head_name,
)
from tailgrad.recipes.combinations import check_combine
from tailgrad.recipes.components import OWN, check_names, check_options, components
from tailgrad.recipes.compose import ABOUT, compose, merge, overlay
from tailgrad.recipes.config import Config
from tailgrad.recipes.prepare import open_config, split_seed
from tailgrad.recipes.stepping import check_together


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
    probe = compose(text, "quick", "baseline", {k: v for k, v in above.items() if k == "data"})
    wanted = as_overlay(method or named.get("method") or "baseline")
    # A misspelt name is refused before a large source is opened.
    for kind, name in (("methods", wanted), ("regimes", regime or named.get("regime"))):
        if isinstance(name, str):
            overlay(kind, name)
    if not isinstance(opened, Source):
        opened = open_config(probe, None if text != "python" else source)
    chosen = regime or named.get("regime") or opened.regime
    config = compose(text, chosen, wanted, above)
    if config.focus is not None:
        one_of("focus", config.focus, opened.class_names)
    check_names(config)
    check_options("heads", head_name(config), config.head.options, skip=2)
    check_combine(config.combine)
    check_together(config)
    device_of(config.train.device)
    return config, opened


def as_overlay(method: Any) -> str | Mapping[str, Any]:
    """A method as a name or an overlay; a loss class stands for itself on the regime's default head.

    Raises:
        InputError: it is none of these.

    Example:
        >>> from tailgrad.losses import FocalLoss
        >>> as_overlay(FocalLoss)["loss"]["name"]
        'focal'
    """
    if isinstance(method, str | Mapping):
        return method
    for name, item in components("losses").items():
        if method is item:
            return {"name": name, "loss": {"name": name}}
    if inspect.isclass(method) and issubclass(method, nn.Module):
        return {"name": method.__name__, "loss": {"name": f"{OWN}{method.__name__}"}}
    raise InputError(
        f"method must be a name, a YAML file, an overlay or a loss class, got {method!r}; see "
        "`tailgrad methods`"
    )


def own_losses(methods: Any) -> dict[str, MakeLoss]:
    """The loss classes of the user's own among methods by name.

    Example:
        >>> own_losses({"a": "csba", "mine": nn.CrossEntropyLoss})
        {'mine': <class 'torch.nn.modules.loss.CrossEntropyLoss'>}
    """
    if not isinstance(methods, Mapping):
        return {}
    known = list(components("losses").values())
    own: dict[str, Any] = {name: item for name, item in methods.items() if inspect.isclass(item)}
    return {name: item for name, item in own.items() if item not in known}


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
