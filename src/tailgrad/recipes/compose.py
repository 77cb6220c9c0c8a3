"""Regime, method, recipe and ``--set`` laid over one another into one configuration."""

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tailgrad.checks import InputError, nearest, nearest_path
from tailgrad.recipes.config import METHOD_KEYS, Config
from tailgrad.recipes.wrong_value import explain
from tailgrad.untrusted import parse_yaml, yaml_text

Overlay = dict[str, Any]
_OF_ONE_RUN = ("regime", "method", "seed")
ABOUT = ("description", "source", "paper", "equation", "reading", "published", "acts_on", "status")


@cache
def named(kind: str) -> dict[str, Path]:
    """The YAML files of a kind ("regimes", "methods" or "recipes") by name.

    Example:
        >>> "csba" in named("methods")
        True
    """
    folder = Path(str(files("tailgrad.recipes") / kind))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def overlay(kind: str, name: str) -> Overlay:
    """The content of a named regime, method or recipe, or of the user's own YAML file.

    Raises:
        InputError: the name is unknown (the nearest one is given), or the file is not a YAML mapping.

    Example:
        >>> overlay("methods", "csba")["head"]
        {'name': 'csba'}
    """
    known = named(kind)
    path = known.get(name) or Path(name)
    if path.suffix not in {".yaml", ".yml"} or not path.is_file():
        word = kind.removesuffix("s")
        hint = nearest_path(path, known) if path.suffix else nearest(name, known)
        raise InputError(f"{word} must be a known name or a YAML file, got {name!r}; {hint}")
    try:
        content = parse_yaml(yaml_text(path))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} must be readable YAML, got {error}; mend it") from error
    if not isinstance(content, dict):
        raise InputError(
            f"{path} must hold a YAML mapping, got {type(content).__name__}; write key: value lines"
        )
    return content


def merge(*overlays: Mapping[str, Any]) -> Overlay:
    """Nested mappings laid over one another, the last one on top; a component renamed drops its old options.

    Example:
        >>> merge({"optim": {"lr": 1, "name": "sgd"}}, {"optim": {"lr": 2}})
        {'optim': {'lr': 2, 'name': 'sgd'}}
    """
    result: Overlay = {}
    for layer in overlays:
        for key, value in layer.items():
            below = result.get(key)
            renamed = isinstance(value, Mapping) and isinstance(below, dict) and "name" in value
            if isinstance(value, Mapping) and isinstance(below, dict):
                kept = {k: v for k, v in below.items() if not (renamed and k == "options")}
                result[key] = merge(kept, value)
            else:
                result[key] = value
    return result


def parse_set(assignments: Sequence[str]) -> Overlay:
    """``["optim.lr=0.1"]`` as a nested mapping; values are read as YAML.

    Raises:
        InputError: an assignment has no ``=`` or its value is not YAML.

    Example:
        >>> parse_set(["optim.lr=0.1", "seed=3"])
        {'optim': {'lr': 0.1}, 'seed': 3}
    """
    result: Overlay = {}
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals or not key.strip():
            raise InputError(f"--set must be key=value, got {assignment!r}; for example --set optim.lr=0.001")
        try:
            value = parse_yaml(text)
        except ValueError as error:
            raise InputError(f"--set {key} must be a YAML value, got {text!r}; quote it") from error
        for part in reversed(key.strip().split(".")):
            value = {part: value}
        result = _laid(result, value)
    return result


def _laid(below: Overlay, above: Mapping[str, Any]) -> Overlay:
    """Assignments over one another; naming a component does not drop the options set beside it."""
    both = {key for key in above if isinstance(above[key], dict) and isinstance(below.get(key), dict)}
    return {**below, **above, **{key: _laid(below[key], above[key]) for key in both}}


def compose(
    source: str, regime: str, method: str | Mapping[str, Any], overrides: Mapping[str, Any] | None = None
) -> Config:
    """The configuration of a regime and a method on a source, with ``overrides`` on top.

    Args:
        source: as for ``open_source``.
        regime: name or YAML file; of a recipe's file everything but its method and seed.
        method: name, YAML file, or an overlay of the method's sections.
        overrides: nested mapping, as from ``parse_set``.

    Raises:
        InputError: a key or value is unknown or out of range, or the method sets a key of the regime.

    Example:
        >>> compose("digits-lt", "digits", "csba", {"seed": 3}).head.name
        'csba'
    """
    name = Path(method).stem if isinstance(method, str) else str(method.get("name", "own"))
    below = _regime(regime)
    for key in METHOD_KEYS:
        if key in below:
            raise InputError(
                f"regime {regime!r} may not set {key}, got {below[key]!r}; that belongs to a method"
            )
    own = _without_about(overlay("methods", method) if isinstance(method, str) else dict(method))
    own.pop("name", None)
    allow = bool(own.pop("own_regime", False))
    refuse_regime_keys(name, own, allow=allow)
    stem = {"source": source, "regime": Path(regime).stem, "method": name}
    return validate(merge(stem, below, own, overrides or {}))


def _regime(name: str) -> Overlay:
    """The keys of a regime; a recipe in its place stands for its regime with all that it sets besides.

    Its method and seed are those of one run, and are left out.
    """
    found = _without_about(overlay("regimes", name))
    if "regime" not in found:
        return found
    own = {key: value for key, value in found.items() if key not in _OF_ONE_RUN}
    return merge(_without_about(overlay("regimes", str(found["regime"]))), own)


def refuse_regime_keys(name: str, own: Mapping[str, Any], *, allow: bool = False) -> None:
    """Check that a method sets only its own sections.

    Raises:
        InputError: it sets a key of the regime, and that is not allowed.

    Example:
        >>> refuse_regime_keys("mine", {"head": {"name": "csba"}})
    """
    foreign = sorted(map(str, set(own) - set(METHOD_KEYS)))
    if foreign and foreign[0] not in Config.model_fields:
        raise InputError(
            f"method {name!r} sets {foreign[0]!r}, which is not a key of the configuration; "
            f"{nearest(foreign[0], METHOD_KEYS)}"
        )
    if foreign and not allow:
        raise InputError(
            f"method {name!r} may set only {', '.join(METHOD_KEYS)}, got {foreign[0]!r}, a key of the "
            "regime; move it there, give it with --set, or allow it with compare --own-regime"
        )


def validate(content: Mapping[str, Any]) -> Config:
    """A mapping as a ``Config``.

    Raises:
        InputError: naming the first key that is wrong, what was wanted, what came, and the nearest name.

    Example:
        >>> validate({"source": "digits-lt", "optim": {"lrr": 1}})
        Traceback (most recent call last):
        ...
        tailgrad.checks.InputError: optim.lrr is not a key of the configuration; did you mean 'lr'?
    """
    try:
        return Config.model_validate(dict(content))
    except ValidationError as error:
        raise InputError(explain(error)) from error


def _without_about(content: Overlay) -> Overlay:
    return {key: value for key, value in content.items() if key not in ABOUT}
