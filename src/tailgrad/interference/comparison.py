"""The result of comparing two measurements: changes, pairs chosen by rule, and words."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tailgrad.interference.gram import Array, off_diagonal
from tailgrad.interference.storage import plain

BEFORE, AFTER, COUNTS = "most opposed before", "most opposed after", "rarest with most frequent"
_LISTED = 3


class Change(NamedTuple):
    """A change, after - before, with its 90 % interval; above 0 is less conflict, NaN not measurable.

    Example:
        >>> Change(0.2, 0.1, 0.3).beyond_noise, Change(0.2, float("nan"), float("nan")).beyond_noise
        (True, False)
    """

    value: float
    low: float
    high: float

    @property
    def beyond_noise(self) -> bool:
        """Whether the interval excludes 0."""
        return bool(self.low > 0 or self.high < 0)

    def __str__(self) -> str:
        return f"{self.value:+z.2f}" + (
            "" if np.isnan(self.low) else f" [{self.low:+z.2f}, {self.high:+z.2f}]"
        )


class PairChange(NamedTuple):
    """Two classes, their conflict before and after, its change, and the change of its null.

    Example:
        >>> print(PairChange("cat", "dog", -0.5, -0.2, Change(0.3, 0.1, 0.5), 0.1))
        cat and dog -0.50 to -0.20, change +0.30 [+0.10, +0.50], null +0.10
    """

    first: str
    second: str
    before: float
    after: float
    change: Change
    null_change: float

    def __str__(self) -> str:
        """The pair in words."""
        names = f"{self.first} and {self.second}"
        if np.isnan(self.change.value):
            return f"{names} not measurable in both"
        moved = f"{self.before:+z.2f} to {self.after:+z.2f}, change {self.change}"
        return f"{names} {moved}, null {self.null_change:+z.2f}"


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """The conflict between K classes in two measurements, and its change; above 0 means less conflict.

    Args:
        class_names: K names.
        primary: the parameter group compared.
        disattenuated: whether sampling noise is divided out; if not, ``conflict`` is plain and has no
            interval.
        conflict: before and after [2, K, K].
        null: before and after [2, K, K].
        interval: lower and upper end of the 90 % interval of the change [2, K, K].
        mean: change of the mean over pairs, with an interval that allows for pairs sharing classes. Values
            beyond [-1, 1], which only noise makes, count as -1 or 1.
        chosen: rule -> indices of the pairs it chose.

    Source: arXiv 2606.05740 eq. 55, its lost sign fixed by us; pairs by rule, intervals and null are ours.

    Example:
        >>> from tailgrad.interference import measure
        >>> from tailgrad.interference.compare import compare
        >>> import torch
        >>> data, layer = [(torch.eye(4).repeat(3, 1), torch.arange(12) % 4)], torch.nn.Linear(4, 4)
        >>> same = compare(measure(layer, data, "all"), measure(layer, data, "all"))
        >>> same.mean.value, same.beyond_noise.any().item()
        (0.0, False)
    """

    class_names: tuple[str, ...]
    primary: str
    disattenuated: bool
    conflict: Array
    null: Array
    interval: Array
    mean: Change
    chosen: dict[str, tuple[tuple[int, int], ...]]

    @property
    def difference(self) -> Array:
        """Change of every pair [K, K]; NaN where one of the two measurements has none."""
        return np.asarray(self.conflict[1] - self.conflict[0])

    @property
    def beyond_noise(self) -> npt.NDArray[np.bool_]:
        """Pairs whose interval excludes 0 [K, K]; of those that did not change, one in ten does."""
        return np.asarray((self.interval[0] > 0) | (self.interval[1] < 0))

    @property
    def null_mean(self) -> float:
        """Change of the mean null over the pairs that ``mean`` is about."""
        return _mean(off_diagonal(self.null[1] - self.null[0] + 0 * self.difference))

    @property
    def pairs(self) -> dict[str, tuple[PairChange, ...]]:
        """The rule by which pairs were chosen -> what became of them."""
        return {rule: tuple(self._pair(*pair) for pair in chosen) for rule, chosen in self.chosen.items()}

    def _pair(self, i: int, j: int) -> PairChange:
        before, after = map(float, self.conflict[:, i, j])
        change = Change(after - before, *map(float, self.interval[:, i, j]))
        null_change = float(self.null[1, i, j] - self.null[0, i, j])
        return PairChange(self.class_names[i], self.class_names[j], before, after, change, null_change)

    @property
    def rule_means(self) -> dict[str, float]:
        """Mean change over the pairs of each rule; the two that look at conflict are biased, in turn."""
        return {rule: _mean([pair.change.value for pair in found]) for rule, found in self.pairs.items()}

    @property
    def both_choices(self) -> float:
        """Mean of the two rules that look at conflict: their biases cancel where nothing changed."""
        return (self.rule_means[BEFORE] + self.rule_means[AFTER]) / 2

    @property
    def regressed(self) -> bool:
        """Whether these two rules disagree in sign, as regression to the mean makes them."""
        return self.rule_means[BEFORE] * self.rule_means[AFTER] < 0

    def summary(self) -> str:
        """The change in plain sentences, and what may not be concluded from it."""
        return "\n".join([*_headline(self), *_by_rule(self), *_cautions(self)])

    def to_dict(self) -> dict[str, object]:
        """Everything as JSON-ready lists, numbers and names; NaN becomes None."""
        pairs = {
            rule: [pair._asdict() | {"change": pair.change._asdict()} for pair in found]
            for rule, found in self.pairs.items()
        }
        derived = {"mean": self.mean._asdict(), "null_mean": self.null_mean, "pairs": pairs}
        derived |= {"rule_means": self.rule_means, "both_choices": self.both_choices}
        return dict(plain(self) | plain(derived | {"regressed": self.regressed, "summary": self.summary()}))


def _mean(values: list[float] | Array) -> float:
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


def _headline(result: Comparison) -> list[str]:
    about = f"{len(result.class_names)} classes, parameters {result.primary!r}"
    if np.isnan(result.mean.value):
        return [f"No pair of {about}, was measurable both times: nothing can be concluded."]
    kind = "conflict without sampling noise" if result.disattenuated else "plain conflict"
    verdict = "beyond noise" if result.mean.beyond_noise else "not beyond noise"
    verdict = "of unknown uncertainty" if np.isnan(result.mean.low) else verdict
    return [
        f"Change of {kind} over {about}; above 0 means less conflict.",
        f"Mean over pairs: {result.mean}, {verdict}. The null moved by {result.null_mean:+z.2f}, so the "
        f"excess moved by {result.mean.value - result.null_mean:+z.2f}.",
    ]


def _by_rule(result: Comparison) -> list[str]:
    lines = []
    for rule, found in result.pairs.items():
        known = [pair for pair in found if not np.isnan(pair.change.value)]
        if known:
            beyond = sum(pair.change.beyond_noise for pair in known)
            sure = f"{beyond} of {len(known)} beyond noise" if result.disattenuated else "no intervals"
            listed = "; ".join(map(str, found[:_LISTED]))
            lines.append(f"Pairs {rule}: {result.rule_means[rule]:+z.2f} on average, {sure}: {listed}.")
    return lines


def _cautions(result: Comparison) -> list[str]:
    lines = [
        "The intervals (90 %) take the two measurements as independent, which makes them too wide where both "
        "used the same data; of pairs that did not change, one in ten is called beyond noise."
        if result.disattenuated
        else "No interval for single pairs: one of the two has no estimate without sampling noise, and plain "
        "conflict is drawn towards 0 for rare classes."
    ]
    if result.regressed:
        lines.append(
            "Pairs chosen before and pairs chosen after disagree on the sign: pairs picked as the worst move "
            "back towards the mean even if nothing changed. Read neither alone; their average is "
            f"{result.both_choices:+z.2f}, and the pairs chosen by counts carry no such bias."
        )
    return lines
