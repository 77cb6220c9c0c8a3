"""What is asked of predictions, and what that makes of those of a network in memory."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tailgrad.checks import InputError
from tailgrad.ship.decision import Floats, Prediction, Rule, softmax, unreadable
from tailgrad.ship.target_prior import Frequencies, prior_shift, target_prior


@dataclass(frozen=True)
class Wish:
    """What is asked of predictions.

    Args:
        top_k: classes named for each image, at least 1.
        abstain: least probability of a decision, 0 to 1; None takes what the artefact states, else 0.
        target: class frequencies at the place of use; None takes what the artefact states.

    Example:
        >>> Wish().top_k
        1
    """

    top_k: int = 1
    abstain: float | None = None
    target: Frequencies | None = None


@dataclass(frozen=True)
class Classes:
    """The classes of a network, and what its probabilities stand for.

    Args:
        names: K class names.
        counts: training images of each.
        prior: that the probabilities stand for, or None where it is not known.
        temperature: that the logits are still to be divided by.
        target: frequencies stored with the network, or None.

    Example:
        >>> Classes(("a", "b"), (9, 1)).temperature
        1.0
    """

    names: tuple[str, ...]
    counts: tuple[int, ...]
    prior: tuple[float, ...] | None = None
    temperature: float = 1.0
    target: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        for values in (self.counts, self.prior):
            if values is not None and (len(values) != len(self.names) or not sum(values) > 0):
                raise ValueError(f"{len(values)} entries for {len(self.names)} classes, or none above 0")

    def asked(self, target: Frequencies | None) -> tuple[float, ...] | None:
        """The frequencies asked for, else those stored."""
        return self.target if target is None else target_prior(target, self.names, self.counts)


def decided(rows: Sequence[Any], classes: Classes, wish: Wish) -> list[Prediction]:
    """Predictions of a network in memory, with what was asked for besides.

    Args:
        rows: predictions of ``recipes``.
        classes: what they stand for.
        wish: what is asked.

    Raises:
        InputError: the target prior does not fit.

    Example: see ``predict``.
    """
    rule = Rule(classes.names, wish.top_k, wish.abstain or 0.0)
    target = classes.asked(wish.target)
    change = None if target is None else prior_shift(classes.prior, target)
    return [_one(rule, row, change, classes.temperature) for row in rows]


def _one(rule: Rule, row: Any, change: Floats | None, temperature: float) -> Prediction:
    if row.error:
        return unreadable(row.file, row.error)
    shares, chosen = np.array(row.probabilities), rule.names.index(row.name)
    if change is not None or temperature != 1.0:
        logits = np.log(np.maximum(shares, np.finfo(np.float64).tiny)) / temperature
        shares = softmax((logits if change is None else logits + change)[None])[0]
    found = rule.decide(row.file, shares, chosen if change is None else None)
    return replace(found, label=row.label)


def with_labels(rows: Sequence[Any], names: Sequence[str], wish: Wish) -> list[Prediction]:
    """Predictions of several labels, each decided at its own threshold, with what was asked for besides.

    Args:
        rows: predictions of ``recipes`` or ``labelled``.
        names: of the labels.
        wish: what is asked, checked by ``check_labels_wish``.

    Example: see ``predict``.
    """
    found = []
    for row in rows:
        ranked = sorted(zip(names, row.probabilities, strict=False), key=lambda pair: -pair[1])
        top = tuple(ranked[: wish.top_k])
        kept = (row.file, row.name, row.probability, row.probabilities, row.error)
        found.append(Prediction(*kept, top, labels=row.labels or ()))
    return found


def check_labels_wish(wish: Wish) -> None:
    """Make sure that nothing is asked for that is of one class an image: labels have no prior in common.

    Raises:
        InputError: frequencies or a threshold to abstain.

    Example:
        >>> check_labels_wish(Wish(top_k=3))
    """
    for name, asked in (("abstain", wish.abstain), ("target_prior", wish.target)):
        if asked is not None:
            raise InputError(
                f"{name} must be left out for a run of several labels an image, got {asked!r}; every label "
                "has a threshold of its own"
            )
