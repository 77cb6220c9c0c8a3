"""What a user may write for ``class_imbalance``, checked."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tailgrad.checks import InputError, nearest, one_of
from tailgrad.recipes.components import NONE, check_options, components
from tailgrad.recipes.orders import NATURAL

AUTO = "auto"
ALLOW = "allow_double_correction"
Knob = str | Mapping[str, Any] | None
"""``"auto"``, ``{"loss": ..., "sampler": ...}`` or None."""

_FOLDERS = {"loss": "losses", "sampler": "samplers"}
_KEYS = (*_FOLDERS, ALLOW)
_OF_THE_FRAMEWORK = ("seed", "num_replicas", "rank")


@dataclass(frozen=True)
class Part:
    """A loss or a sampler by name.

    Args:
        name: in recipes.
        options: of it, by name.

    Example:
        >>> Part("focal", {"gamma": 1.0}).name
        'focal'
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)


def refuse_other_words(word: str) -> None:
    """Make sure that a text is ``"auto"``.

    Raises:
        InputError: it is not; where it names a loss or a sampler, the mapping to write is given.

    Example:
        >>> refuse_other_words("focal")
        Traceback (most recent call last):
        ...
        tailgrad.checks.InputError: class_imbalance must be 'auto', ... got 'focal'; write {'loss': 'focal'}
    """
    if word == AUTO:
        return
    known = {name: part for part, folder in _FOLDERS.items() for name in components(folder)}
    hint = f"write {{{known[word]!r}: {word!r}}}" if word in known else nearest(word, [AUTO])
    raise InputError(
        f"class_imbalance must be 'auto', None or a mapping with loss or sampler, got {word!r}; {hint}"
    )


def asked_parts(knob: Mapping[str, Any]) -> dict[str, Part]:
    """The parts of a mapping: ``"loss"``, ``"sampler"`` or both.

    Args:
        knob: each part a name of recipes or ``{"name": ..., "options": {...}}``; None, ``"none"`` and the
            sampler ``"instance"`` leave what the framework has.

    Raises:
        InputError: an unknown key, name or option (the nearest is named), no part at all, a loss that does
            not take logits and one class an example, or an option that is the framework's.

    Example:
        >>> asked_parts({"loss": {"name": "focal", "options": {"gamma": 1.0}}, "sampler": None})
        {'loss': Part(name='focal', options={'gamma': 1.0})}
    """
    given: object = knob
    if not isinstance(given, Mapping):
        raise InputError(
            f"class_imbalance must be 'auto', None or a mapping with loss or sampler, got {knob!r}; write "
            "'auto', or a mapping such as {'loss': 'balanced_softmax'}"
        )
    for key in knob:
        one_of("key of class_imbalance", key, _KEYS)
    parts = {part: _part(part, knob[part]) for part in _FOLDERS if not _is_left_alone(part, knob.get(part))}
    if not parts:
        raise InputError(
            f"class_imbalance must name a loss or a sampler, got {dict(knob)}; name one, or set it to None"
        )
    return parts


def _is_left_alone(part: str, given: Any) -> bool:
    name = given.get("name", "") if isinstance(given, Mapping) else given
    return name in (None, NONE) or (part == "sampler" and name == NATURAL)


def _part(part: str, given: Any) -> Part:
    where = f"class_imbalance[{part!r}]"
    found: Any = {"name": given} if isinstance(given, str) else given
    if not isinstance(found, Mapping) or "name" not in found or set(found) - {"name", "options"}:
        raise InputError(
            f"{where} must be a name or a mapping with name and options, got {given!r}; write "
            f"{{{part!r}: {{'name': ..., 'options': {{...}}}}}}"
        )
    name, options = str(found["name"]), dict(found.get("options") or {})
    kind = check_options(_FOLDERS[part], name, options, skip=1, section=where)
    if part == "loss":
        _check_loss(where, name, kind, options)
    for key in _OF_THE_FRAMEWORK:
        if key in options:
            raise InputError(
                f"options of {name} must leave {key} to the framework, got {options[key]!r}; leave it out"
            )
    return Part(name, options)


def _check_loss(where: str, name: str, kind: Any, options: Mapping[str, Any]) -> None:
    if kind.takes != "logits":
        raise InputError(
            f"{where} must be a loss of logits, got {name!r}, which takes {kind.takes}; a framework hands "
            "over logits only: use it in a loop of your own, or by tailgrad.train"
        )
    if getattr(kind, "multi_label", False):
        raise InputError(
            f"{where} must take one class an example, got {name!r}, which takes several; call "
            f"{kind.__name__} yourself: compute_loss_func of the Trainer, training_step in Lightning"
        )
    if options.get("reduction", "mean") != "mean":
        raise InputError(
            f"reduction must be 'mean', got {options['reduction']!r}; leave it out: the framework knows the "
            "size of a batch"
        )
