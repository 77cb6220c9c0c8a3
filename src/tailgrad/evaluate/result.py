"""What an evaluation answers with: one row a class, and the figures over all of them."""

from dataclasses import asdict, dataclass
from typing import Any

from tailgrad.checks import InputError
from tailgrad.evaluate.cells import Confusion
from tailgrad.evaluate.estimate import Estimate
from tailgrad.evaluate.groups import Group
from tailgrad.evaluate.readable import as_table, headline


@dataclass(frozen=True, slots=True)
class ClassRow:
    """What is said about one class.

    Args:
        name: of the class.
        train_count: its training images.
        support: its test images.
        predicted: test images predicted as it.
        precision: with Wilson interval.
        recall: with Wilson interval.
        f1: with the Wilson interval of `wilson_f1`.
        ece: class-wise calibration error, or None without probabilities.

    Example:
        >>> ClassRow("cat", 10, 3, 2, Estimate(1.0), Estimate(0.7), Estimate(0.8)).f1.value
        0.8
    """

    name: str
    train_count: int
    support: int
    predicted: int
    precision: Estimate
    recall: Estimate
    f1: Estimate
    ece: float | None = None

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "ClassRow":
        """Inverse of `dataclasses.asdict`."""
        figures = {name: Estimate.from_dict(fields[name]) for name in ("precision", "recall", "f1")}
        return cls(**{**fields, **figures})


@dataclass(frozen=True, slots=True, repr=False)
class Evaluation:
    """Figures of one set of predictions, each with an interval where one exists; ``print`` gives a table.

    Args:
        images: number of test images N.
        classes: one row a class, in class order.
        macro_f1: unweighted mean F1.
        accuracy: share of images predicted right.
        balanced_accuracy: mean recall.
        g_mean: geometric mean of the recalls.
        worst_class: the name with the lowest F1 among classes with test images.
        confusion: counts by target and predicted class; ``numpy.asarray`` makes the matrix [K, K] of it.
        groups: many / medium / few and head / middle / tail, the empty ones left out.
        undefined: how many classes had a zero denominator, counted as 0 (``precision``, ``recall``, ``f1``).
        ece: calibration error over 15 bins, or None without logits.
        nll: mean negative log-likelihood in nats, or None without logits.

    Example:
        >>> from tailgrad.evaluate import evaluate
        >>> from tailgrad.types import ClassInfo
        >>> info = ClassInfo(("cat", "dog"), (9, 3))
        >>> result = evaluate([[2.0, 0.0], [0.0, 1.0]], [0, 1], info, resamples=0)
        >>> Evaluation.from_dict(result.to_dict()) == result
        True
        >>> result
        Evaluation(2 classes, 2 images, macro-F1 1.000, worst class 'cat')
    """

    images: int
    classes: tuple[ClassRow, ...]
    macro_f1: Estimate
    accuracy: Estimate
    balanced_accuracy: Estimate
    g_mean: Estimate
    worst_class: str
    confusion: Confusion
    groups: tuple[Group, ...]
    undefined: dict[str, int]
    ece: float | None = None
    nll: Estimate | None = None

    def __repr__(self) -> str:
        return (
            f"Evaluation({len(self.classes)} classes, {self.images} images, macro-F1 {self.macro_f1}, worst "
            f"class {self.worst_class!r})"
        )

    def __str__(self) -> str:
        return f"{self.table()}\n\n{headline(self)}   worst class {self.worst_class}"

    def table(self) -> str:
        """One line a class: training and test images, precision, recall and F1 with their intervals."""
        return as_table(self)

    def row(self, name: str) -> ClassRow:
        """The row of a class.

        Raises:
            InputError: no class has this name.
        """
        for row in self.classes:
            if row.name == name:
                return row
        raise InputError(
            f"name must be a class, got {name!r}; choose from {[row.name for row in self.classes]}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionary that JSON can hold."""
        fields = asdict(self)
        return fields | {
            "classes": list(fields["classes"]),
            "confusion": self.confusion.to_json(),
            "groups": [group.to_dict() for group in self.groups],
        }

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "Evaluation":
        """Inverse of `to_dict`."""
        figures = {
            name: Estimate.from_dict(fields[name])
            for name in ("macro_f1", "accuracy", "balanced_accuracy", "g_mean", "nll")
            if fields[name] is not None
        }
        parts = {
            "classes": tuple(ClassRow.from_dict(row) for row in fields["classes"]),
            "confusion": Confusion.from_json(fields["confusion"]),
            "groups": tuple(Group.from_dict(group) for group in fields["groups"]),
        }
        return cls(**{**fields, **figures, **parts})
