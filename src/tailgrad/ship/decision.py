"""From probabilities to what is said of an image: the class, the runners-up, whether to abstain."""

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral

import numpy as np
from numpy.typing import NDArray

from tailgrad.checks import InputError, in_range
from tailgrad.recipes.prediction import JOINED

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Prediction:
    """The class of one image, or the labels of one that has several.

    Args:
        file: path as given.
        name: predicted class; several labels are joined by ``"; "``, and without any it is empty.
        probability: its probability; of several labels that of the likeliest.
        probabilities: of every class, in class order; those of several labels do not sum to 1.
        error: why the image could not be read; then the other fields are empty.
        top: the most probable classes with their probabilities.
        abstained: whether the probability lies under the threshold asked for.
        label: the class that a row of a table says it has.
        labels: of an image that may have several, those it has, in the order of the labels. Else None.

    Example:
        >>> Prediction("a.png", "cat", 0.9, (0.9, 0.1), top=(("cat", 0.9),)).abstained
        False
    """

    file: str
    name: str
    probability: float
    probabilities: tuple[float, ...]
    error: str = ""
    top: tuple[tuple[str, float], ...] = ()
    abstained: bool = False
    label: str = ""
    labels: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Rule:
    """How a probability becomes a decision.

    Args:
        names: K class names.
        top_k: classes named for each image, at least 1.
        abstain: least probability of a decision, 0 to 1.

    Raises:
        InputError: a number is outside its range.

    Example:
        >>> Rule(("cat", "dog"), abstain=0.6).decide("a.png", np.array([0.55, 0.45])).abstained
        True
    """

    names: Sequence[str]
    top_k: int = 1
    abstain: float = 0.0

    def __post_init__(self) -> None:
        number: object = in_range("top_k", self.top_k, 1)
        if not isinstance(number, Integral):
            raise InputError(f"top_k must be a whole number, got {self.top_k}; give one")
        in_range("abstain", self.abstain, 0, 1)

    def decide(self, file: str, row: Floats, chosen: int | None = None) -> Prediction:
        """What is said of an image with these probabilities [K]; ``chosen`` where its class is decided."""
        order = np.argsort(-row, kind="stable").tolist()
        k = order[0] if chosen is None else chosen
        top = tuple((self.names[j], float(row[j])) for j in order[: self.top_k])
        p = float(row[k])
        return Prediction(file, self.names[k], p, tuple(row.tolist()), "", top, p < self.abstain)


def labelled(file: str, row: Floats, names: Sequence[str], thresholds: Sequence[float]) -> Prediction:
    """The labels of an image: those whose probability reaches the label's own threshold.

    Args:
        file: path as given.
        row: probability of every label [L].
        names: of the labels.
        thresholds: one a label, in [0, 1].

    Example:
        >>> labelled("a.png", np.array([0.4, 0.9, 0.2]), ("cat", "dog", "fox"), (0.3, 0.5, 0.5)).labels
        ('cat', 'dog')
    """
    found = tuple(name for name, p, least in zip(names, row, thresholds, strict=True) if p >= least)
    return Prediction(file, JOINED.join(found), float(row.max()), tuple(row.tolist()), labels=found)


def focused(probabilities: Floats, focus: int, threshold: float) -> list[int]:
    """Class ``focus`` where its probability reaches the threshold, else the likeliest other class.

    Args:
        probabilities: [N, K] that the threshold was tuned on.
        focus: index of the class.
        threshold: least probability that counts as the class.

    Source: ``evaluate.apply_threshold``, which would load SciPy.

    Example:
        >>> focused(np.array([[0.3, 0.6, 0.1], [0.2, 0.3, 0.5]]), 0, 0.25)
        [0, 2]
    """
    others = probabilities.copy()
    others[:, focus] = -np.inf
    found: list[int] = np.where(probabilities[:, focus] >= threshold, focus, others.argmax(1)).tolist()
    return found


def softmax(logits: Floats) -> Floats:
    """Probabilities [N, K] of logits [N, K], in double precision.

    Example:
        >>> softmax(np.zeros((1, 4))).tolist()
        [[0.25, 0.25, 0.25, 0.25]]
    """
    raised = np.exp(logits - logits.max(1, keepdims=True, initial=-np.inf))
    return np.asarray(raised / raised.sum(1, keepdims=True))


def sigmoid(logits: Floats) -> Floats:
    """Probabilities [N, L] of labels that do not exclude one another, in double precision.

    Source: ``evaluate.label_thresholds.probabilities``, which would load SciPy.

    Example:
        >>> sigmoid(np.array([[0.0, -800.0]])).tolist()
        [[0.5, 0.0]]
    """
    e = np.exp(-np.abs(logits))
    return np.asarray(np.where(logits >= 0, 1, e) / (1 + e))


def unreadable(file: str, reason: str) -> Prediction:
    """The place of an image that could not be read.

    Example:
        >>> unreadable("a.png", "empty file").error
        'empty file'
    """
    return Prediction(file, "", float("nan"), (), reason)
