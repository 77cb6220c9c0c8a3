"""How much evidence two columns of a printed table hold, from the whole numbers behind them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from tailgrad.checks import InputError
from tailgrad.evaluate.finding import CONSISTENT, UNKNOWN, Finding
from tailgrad.evaluate.integer_counts import ColumnCounts
from tailgrad.evaluate.intervals import wilson
from tailgrad.evaluate.metrics import f1_from_margins
from tailgrad.evaluate.unpaired import fisher_exact, newcombe

LEVEL = 0.05
_SHOWN = 4


@dataclass(frozen=True, slots=True)
class McNemarCase:
    """One way in which two models may share their correct images.

    Args:
        lost: images that only the first model gets right.
        gained: images that only the second one gets right.
        p: two-sided exact p value.

    Example:
        >>> McNemarCase(0, 3, 0.25).p
        0.25
    """

    lost: int
    gained: int
    p: float


def mcnemar_cases(correct_a: int, correct_b: int, total: int) -> list[McNemarCase]:
    """Every case of McNemar's exact test that agrees with two numbers of correct images.

    A table says how many images each model gets right and not which ones, so the images lost are unknown:
    from ``max(0, a - b)`` to ``min(a, n - b)``. The first case is the most, the last the least convincing.

    Args:
        correct_a: correct images of the first model.
        correct_b: correct images of the second model.
        total: images n.

    Raises:
        InputError: more correct images than images, or a negative number.

    Source: McNemar (1947), exact form.

    Example:
        >>> [(case.lost, round(case.p, 3)) for case in mcnemar_cases(3, 6, 13)]
        [(0, 0.25), (1, 0.375), (2, 0.453), (3, 0.508)]
    """
    return [_case(lost, correct_b - correct_a) for lost in _possibly_lost(correct_a, correct_b, total)]


def _possibly_lost(correct_a: int, correct_b: int, total: int) -> range:
    if not 0 <= min(correct_a, correct_b) <= max(correct_a, correct_b) <= total:
        raise InputError(
            f"correct images must be in [0, {total}], got {correct_a} and {correct_b}; check the counts"
        )
    return range(max(0, correct_a - correct_b), min(correct_a, total - correct_b) + 1)


def _case(lost: int, gain: int) -> McNemarCase:
    from scipy import stats  # takes half a second

    gained = lost + gain
    p = float(stats.binomtest(lost, lost + gained).pvalue) if lost + gained else 1.0
    return McNemarCase(lost, gained, p)


def gain_of_class(name: str, total: int, correct_a: int, correct_b: int) -> Finding:
    """Whether more correct images of one class are more than chance.

    Args:
        name: the class.
        total: its test images.
        correct_a: correct images of the first model.
        correct_b: correct images of the second one.

    Returns:
        ``consistent`` if there are more and every case of McNemar's test is below 0.05, else
        ``cannot be told``.

    Example:
        >>> print(gain_of_class("phys", 13, 3, 6).sentence)
        3 to 6 of 13 images of phys: 3 decide. McNemar p = 0.250 at best, 0.508 at worst.
    """
    lost = _possibly_lost(correct_a, correct_b, total)
    first = [_case(one, correct_b - correct_a) for one in lost[:_SHOWN]]
    best, worst = first[0].p, _case(lost[-1], correct_b - correct_a).p
    numbers = {
        "class": name,
        "images": total,
        "correct": [correct_a, correct_b],
        "images_that_decide": abs(correct_b - correct_a),
        "mcnemar": [asdict(case) for case in first],
        "mcnemar_best": best,
        "mcnemar_worst": worst,
        "fisher": fisher_exact(correct_b, total, correct_a, total),
        "wilson": [wilson(correct, total).to_dict() for correct in (correct_a, correct_b)],
        "newcombe": newcombe(correct_b, total, correct_a, total).to_dict(),
    }
    sentence = (
        f"{correct_a} to {correct_b} of {total} images of {name}: {_decide(correct_b - correct_a)}. "
        f"McNemar p = {best:.3f} at best, {worst:.3f} at worst."
    )
    shown = correct_b > correct_a and worst < LEVEL
    return Finding("recall gain", CONSISTENT if shown else UNKNOWN, sentence, "", numbers)


def _decide(gain: int) -> str:
    return "1 decides" if abs(gain) == 1 else f"{abs(gain)} decide"


def gain_overall(supports: Sequence[int], first: ColumnCounts, second: ColumnCounts) -> Finding:
    """Whether more correct images in all are more than chance.

    Example:
        >>> a, b = ColumnCounts((5, 3), (6, 4)), ColumnCounts((5, 4), (5, 5))
        >>> print(gain_overall((5, 5), a, b).sentence)
        8 to 9 of 10 images are right: 1 decides. McNemar p = 1.000 at best, 1.000 at worst.
    """
    classes = zip(first.true_positive, second.true_positive, supports, strict=True)
    lost = [_possibly_lost(*counts) for counts in classes]
    right_a, right_b = sum(first.true_positive), sum(second.true_positive)
    gain = right_b - right_a
    best, worst = (_case(sum(one[end] for one in lost), gain) for end in (0, -1))
    numbers = {
        "images": sum(supports),
        "correct": [right_a, right_b],
        "images_that_decide": abs(gain),
        "best": asdict(best),
        "worst": asdict(worst),
    }
    sentence = (
        f"{right_a} to {right_b} of {sum(supports)} images are right: {_decide(gain)}. "
        f"McNemar p = {best.p:.3f} at best, {worst.p:.3f} at worst."
    )
    shown = gain > 0 and worst.p < LEVEL
    return Finding("accuracy gain", CONSISTENT if shown else UNKNOWN, sentence, "", numbers)


def class_f1(supports: Sequence[int], counts: ColumnCounts) -> list[float]:
    """F1 of each class from whole numbers [K].

    Example:
        >>> round(class_f1((13,), ColumnCounts((3,), (10,)))[0], 3)
        0.261
    """
    found = f1_from_margins(*(np.array(n) for n in (counts.true_positive, supports, counts.predicted)))
    return [float(value) for value in found]


def gain_without_best(class_names: Sequence[str], before: Sequence[float], after: Sequence[float]) -> Finding:
    """Whether macro-F1 still grows once the class that gains most is left out.

    Args:
        class_names: K names, at least 2.
        before: F1 of each class with the first model [K].
        after: F1 of each class with the second one [K].

    Example:
        >>> print(gain_without_best(("a", "b"), (0.8, 0.2), (0.7, 0.6)).sentence)
        Macro-F1 goes from 0.5000 to 0.6500; without b it goes from 0.8000 to 0.7000.
    """
    gains = [b - a for a, b in zip(before, after, strict=True)]
    best = max(range(len(gains)), key=lambda k: gains[k])
    whole = [sum(values) / len(values) for values in (before, after)]
    rest = [(sum(values) - values[best]) / (len(values) - 1) for values in (before, after)]
    stays = rest[1] > rest[0] and whole[1] > whole[0]
    numbers = {"class": class_names[best], "macro_f1": whole, "without": rest}
    sentence = (
        f"Macro-F1 goes from {whole[0]:.4f} to {whole[1]:.4f}; without {class_names[best]} it goes from "
        f"{rest[0]:.4f} to {rest[1]:.4f}."
    )
    return Finding("macro-F1 gain", CONSISTENT if stays else UNKNOWN, sentence, "", numbers)
