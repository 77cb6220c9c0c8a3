"""The methods of a comparison: those named, those that ``all`` brought, and what makes own losses."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tailgrad.checks import InputError
from tailgrad.data import Source
from tailgrad.data.source import safe_name
from tailgrad.recipes.compose import overlay
from tailgrad.recipes.config import Config
from tailgrad.recipes.configure import as_overlay, by_name, own_losses
from tailgrad.recipes.every_method import Sieve, expanded
from tailgrad.recipes.own_loss import MakeLoss, make_own
from tailgrad.recipes.prepare import training_classes
from tailgrad.recipes.talk import Talk

Methods = Sequence[Any] | Mapping[str, Any]


@dataclass(frozen=True)
class Chosen:
    """What is compared.

    Args:
        overlays: of every method, by name.
        own: what makes losses of the user's own, by method.
        reasons: methods that ``all`` left out, with the reason.
        opened: the source, where it had to be opened to know.

    Example:
        >>> choose("digits-lt", ["csba"], None, {}, Talk(None)).overlays["csba"]["head"]
        {'name': 'csba'}
    """

    overlays: Mapping[str, Mapping[str, Any]]
    own: Mapping[str, MakeLoss]
    reasons: Mapping[str, str] = field(default_factory=dict)
    opened: Source | None = None

    def try_own(self, config: Config, source: Source) -> None:
        """Make and try every loss of the user's own now, so that none fails after hours.

        Raises:
            InputError: one fails.
        """
        for make in self.own.values():
            make_own(make, training_classes(config, source).counts)


def choose(
    source: Any, methods: Methods, regime: str | None, overrides: Mapping[str, Any], talk: Talk
) -> Chosen:
    """The methods of a comparison.

    Args:
        source: as for ``compare``.
        methods: as for ``compare``.
        regime: as for ``compare``.
        overrides: keys of the regime.
        talk: who listens.

    Raises:
        InputError: a method is none, has no name for a folder, or is named twice.

    Example:
        >>> choose("digits-lt", "csba", None, {}, Talk(None))
        Traceback (most recent call last):
        ...
        tailgrad.checks.InputError: methods must be a list of names, got the text 'csba'; write ['csba']
    """
    if isinstance(methods, str):
        raise InputError(f"methods must be a list of names, got the text {methods!r}; write [{methods!r}]")
    if not isinstance(methods, Iterable):
        raise InputError(
            f"methods must be a list of names or a mapping from names, got {methods!r}; list them"
        )
    named, brought = (methods, set[str]()) if isinstance(methods, Mapping) else expanded(methods)
    overlays, own = _overlays(named), own_losses(named)
    if not brought:
        return Chosen(overlays, own)
    return _suited(overlays, own, brought, Sieve(source, regime, overrides, own), talk)


def _suited(
    overlays: dict[str, Mapping[str, Any]],
    own: Mapping[str, MakeLoss],
    brought: set[str],
    sieve: Sieve,
    talk: Talk,
) -> Chosen:
    reasons: dict[str, str] = {}
    with talk.counting("looking which methods suit") as told:
        for place, (name, method) in enumerate(overlays.items()):
            told(place + 1, len(overlays))
            if why := sieve.why_not(name, method):
                reasons[name] = why
    for name in reasons.keys() - brought:
        raise InputError(f"method {name!r} must suit the network and the data, got: {reasons[name]}")
    kept = {name: method for name, method in overlays.items() if name not in reasons}
    return Chosen(kept, own, reasons, sieve.opened)


def _overlays(methods: Methods) -> dict[str, Mapping[str, Any]]:
    found: dict[str, Mapping[str, Any]] = {}
    for name, method in by_name(methods):
        if not isinstance(name, str) or not name or Path(name).name != name:
            raise InputError(
                f"methods must have names that can name a folder, got {name!r}; take {safe_name(str(name))!r}"
            )
        if name in found:
            raise InputError(f"methods must be distinct, got {name!r} twice; name each once")
        content = as_overlay(method)
        found[name] = {**(overlay("methods", content) if isinstance(content, str) else content), "name": name}
    if not found:
        raise InputError(f"methods must hold at least one name, got {methods!r}; see `tailgrad methods`")
    return found
