"""The loss, the sampler and the ledger that a classifier of vectors is trained with, from their names."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.class_weight import compute_class_weight
from torch import nn

from tailgrad.checks import InputError, one_of
from tailgrad.correction_ledger import Ledger, ledger
from tailgrad.losses import class_weights
from tailgrad.recipes.components import build, components
from tailgrad.recipes.orders import NATURAL
from tailgrad.recipes.usual_method import usual_method

AUTO = "auto"
_PLAIN = "cross_entropy"
ClassWeight = str | Mapping[Any, float] | None
"""None, ``"balanced"``, ``"effective"`` or weights by label."""


@dataclass(frozen=True)
class Asked:
    """What was asked for, in the words of ``TailgradClassifier``.

    Args:
        loss: a name, or ``"auto"``.
        loss_options: of the loss, by name.
        sampler: a name, or None.
        class_weight: None, ``"balanced"``, ``"effective"`` or weights by label.
        allow_double_correction: accept two corrections of one prior.

    Example:
        >>> Asked().loss
        'auto'
    """

    loss: str = AUTO
    loss_options: Mapping[str, Any] | None = None
    sampler: str | None = None
    class_weight: ClassWeight = None
    allow_double_correction: bool = False


@dataclass(frozen=True)
class Parts:
    """What the examples are drawn with and trained on.

    Args:
        name: of the loss.
        loss: called with logits [n, K] and class indices [n].
        sampler: with ``set_epoch``, gives positions; None for a plain shuffle.
        ledger: the class prior that both leave.

    Example: see ``make_parts``.
    """

    name: str
    loss: nn.Module
    sampler: Any | None
    ledger: Ledger


def make_parts(
    asked: Asked, target: NDArray[np.int64], classes: NDArray[Any], *, filled: Mapping[str, Any], seed: int
) -> Parts:
    """Build what was asked for.

    Args:
        asked: the names.
        target: class index of each training example [N], every class among them.
        classes: the labels [K].
        filled: ``epochs``, ``batch_size`` and ``reduction``, for parts that have such an argument.
        seed: of the sampler.

    Raises:
        InputError: a name, an option or a weight does not fit, or one prior is corrected twice.

    Example:
        >>> parts = make_parts(
        ...     Asked(), np.repeat([0, 1], [9, 1]), np.array(["no", "yes"]), filled={"epochs": 1}, seed=0
        ... )
        >>> parts.loss, parts.ledger.prior.tolist()
        (BalancedSoftmaxLoss(class_counts=[9, 1], reduction='mean'), [0.5, 0.5])
    """
    counts = np.bincount(target).tolist()
    name = _loss_name(asked, counts)
    options = dict(asked.loss_options or {})
    if asked.loss == AUTO and options:
        raise InputError(f"loss_options must go with a named loss, got {options} for 'auto'; name the loss")
    if options.get("reduction") == "none":
        raise InputError(
            "loss_options must leave one number a batch, got reduction='none'; leave it out: optimisers that "
            "need a number an example ask for it themselves"
        )
    if asked.class_weight is not None:
        options |= _weights(asked, name, target, classes)
    loss: nn.Module = build("losses", name, options, counts, filled=filled, section="loss")
    sampler = _sampler(asked.sampler, target, {**filled, "seed": seed})
    # Weights by label are costs that the user has thought of; two corrections are a slip.
    thought_of = isinstance(asked.class_weight, Mapping) and sampler is None
    found = ledger(
        [(f"loss {name}", loss), *([] if sampler is None else [(f"sampler {asked.sampler}", sampler)])],
        counts,
        class_names=[str(label) for label in classes],
        allow_double_correction=asked.allow_double_correction or thought_of,
    )
    return Parts(name, loss, sampler, found)


def _loss_name(asked: Asked, counts: Sequence[int]) -> str:
    if asked.loss == AUTO:
        corrected = asked.class_weight is not None or asked.sampler not in (None, NATURAL)
        usual = usual_method(max(counts) / min(counts))[0]
        return _PLAIN if corrected or usual == "ce" else usual
    suited = [name for name, made in components("losses").items() if _suits(made)]
    return one_of("loss", asked.loss, [AUTO, *suited])


def _suits(made: Any) -> bool:
    return getattr(made, "takes", "") == "logits" and not getattr(made, "multi_label", False)


def _weights(asked: Asked, name: str, target: NDArray[np.int64], classes: NDArray[Any]) -> dict[str, Any]:
    takers = [key for key, made in components("losses").items() if _suits(made) and _takes_weights(made)]
    if name not in takers:
        raise InputError(
            f"class_weight must go with a loss that takes weights, got {name!r}; leave it out, or choose "
            f"from {', '.join(takers)}"
        )
    if "weights" in (asked.loss_options or {}):
        raise InputError("class_weight must be None where loss_options has weights; give one of the two")
    return {"weights": label_weights(asked.class_weight, target, classes)}


def _takes_weights(made: Any) -> bool:
    return "weights" in inspect.signature(made).parameters


def label_weights(class_weight: ClassWeight, target: NDArray[np.int64], classes: NDArray[Any]) -> list[float]:
    """One weight a class, as scikit-learn means them.

    Args:
        class_weight: ``"balanced"`` (``N / (K n_k)``), ``"effective"`` (by the effective number of examples,
            beta 0.9999) or weights by label; a label that is left out weighs 1 (labels that are not there are
            refused then).
        target: class index of each training example [N].
        classes: the labels [K].

    Raises:
        InputError: another word, a label that is not there, or a weight that is not positive.

    Example:
        >>> label_weights({"yes": 5.0}, np.array([0, 1]), np.array(["no", "yes"]))
        [1.0, 5.0]
    """
    if not isinstance(class_weight, Mapping):
        one_of("class_weight", str(class_weight), ["balanced", "effective"])
    if class_weight == "effective":
        return class_weights(np.bincount(target).tolist(), "effective")
    try:
        found = compute_class_weight(class_weight, classes=classes, y=classes[target])
    except ValueError as error:
        raise InputError(f"class_weight must name the classes, got {class_weight} ({error})") from error
    for label, weight in zip(classes, found, strict=True):
        if not (np.isfinite(weight) and weight > 0):
            raise InputError(
                f"class_weight must be positive, got {weight} for {label!s}; leave out the rows of a class "
                "that is not to count"
            )
    return [float(weight) for weight in found]


def _sampler(name: str | None, target: NDArray[np.int64], filled: Mapping[str, Any]) -> Any | None:
    if name in (None, NATURAL):
        return None
    one_of("sampler", str(name), components("samplers"))
    return build("samplers", str(name), {}, target, filled=filled, section="sampler")
