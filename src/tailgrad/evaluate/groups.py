"""Groups of classes by training count: many / medium / few, and thirds."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tailgrad.evaluate.bootstrap import Resamples, mean_f1
from tailgrad.evaluate.estimate import Estimate
from tailgrad.evaluate.intervals import combined

_RULES = {
    "many": "more than 100 training images",
    "medium": "20 to 100 training images",
    "few": "fewer than 20 training images",
    "head": "third of the classes with most training images",
    "middle": "classes between head and tail",
    "tail": "third of the classes with fewest training images",
}


@dataclass(frozen=True, slots=True)
class Group:
    """Mean recall and macro-F1 over a group of classes.

    Args:
        name: ``many``, ``medium``, ``few``, ``head``, ``middle`` or ``tail``.
        rule: what puts a class into the group, in words.
        classes: indices of its classes.
        recall: mean recall over them.
        macro_f1: mean F1 over them.

    Example:
        >>> Group("few", "under 20", (2,), Estimate(0.5), Estimate(0.4)).to_dict()["classes"]
        [2]
    """

    name: str
    rule: str
    classes: tuple[int, ...]
    recall: Estimate
    macro_f1: Estimate

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionary that JSON can hold."""
        return asdict(self) | {"classes": list(self.classes)}

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "Group":
        """Inverse of `to_dict`."""
        recall, macro = Estimate.from_dict(fields["recall"]), Estimate.from_dict(fields["macro_f1"])
        return cls(fields["name"], fields["rule"], tuple(fields["classes"]), recall, macro)


def shots(counts: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """Classes with many (> 100), medium (20 to 100) and few (< 20) training images; empty groups left out.

    Source: Liu et al., "Large-Scale Long-Tailed Recognition in an Open World" (2019).

    Example:
        >>> shots([101, 100, 20, 19])
        {'many': (0,), 'medium': (1, 2), 'few': (3,)}
    """
    groups = {
        "many": tuple(k for k, n in enumerate(counts) if n > 100),
        "medium": tuple(k for k, n in enumerate(counts) if 20 <= n <= 100),
        "few": tuple(k for k, n in enumerate(counts) if n < 20),
    }
    return {name: classes for name, classes in groups.items() if classes}


def thirds(counts: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """Thirds of the classes by training count, largest first; ties keep class order, empty thirds left out.

    Head and tail hold ``(K + 1) // 3`` classes each, the middle the rest.

    Example:
        >>> thirds([5, 50, 500, 1, 20])
        {'head': (2, 1), 'middle': (4,), 'tail': (0, 3)}
    """
    order = tuple(sorted(range(len(counts)), key=lambda k: -counts[k]))
    size = (len(order) + 1) // 3
    groups = {
        "head": order[:size],
        "middle": order[size : len(order) - size],
        "tail": order[len(order) - size :],
    }
    return {name: classes for name, classes in groups.items() if classes}


def evaluate_groups(
    counts: Sequence[int],
    recalls: Sequence[Estimate],
    f1s: Sequence[Estimate],
    draws: Resamples | None,
    level: float = 0.95,
) -> tuple[Group, ...]:
    """Mean recall and macro-F1 of every group of `shots` and `thirds` that is not empty.

    Args:
        counts: training images of each class [K].
        recalls: recall of each class [K].
        f1s: F1 of each class [K].
        draws: bootstrap resamples for the macro-F1, or None for no interval.
        level: coverage wanted, in (0, 1).

    Example:
        >>> ends = [Estimate(1, 1, 1), Estimate(0, 0, 1)]
        >>> groups = evaluate_groups([200, 5], ends, ends, None)
        >>> [(group.name, group.recall.value) for group in groups]
        [('many', 1.0), ('few', 0.0), ('head', 1.0), ('tail', 0.0)]
    """
    return tuple(
        Group(
            name,
            _RULES[name],
            classes,
            combined([recalls[k] for k in classes]),
            mean_f1([f1s[k] for k in classes], None if draws is None else draws.f1[:, classes], level),
        )
        for name, classes in {**shots(counts), **thirds(counts)}.items()
    )
