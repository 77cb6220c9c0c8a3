"""A measured figure: one value a unit (seed, split or layer), and what its mean may be."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special

from tailgrad.checks import InputError, nearest
from tailgrad.evaluate import Estimate, student_t
from tailgrad.recipes.conclude import figure as overall

RunResult = Mapping[str, Any]
_OF_CLASSES = ("precision", "recall", "f1", "average_precision", "auc")
"""Figures of one class; the last two of a label, where images have several."""


@dataclass(frozen=True)
class Figure:
    """A mean over units with its interval.

    Args:
        mean: what was measured, with its 95 % interval.
        values: one a unit; empty where the interval was made in another way.
        extra_variance: the Nadeau-Bengio term n_test / n_train of resampled splits, else 0.
        what: in words, for a table.
        degrees: of the Student quantile that made an interval without values; None for a normal one.

    Example:
        >>> found = Figure.over([0.60, 0.62, 0.64], what="macro-F1")
        >>> print(found.mean, round(found.p(0.5), 3))
        0.620 [0.570, 0.670] 0.009
    """

    mean: Estimate
    values: tuple[float, ...] = ()
    extra_variance: float = 0.0
    what: str = ""
    degrees: int | None = None

    @classmethod
    def over(cls, values: Sequence[float], *, extra_variance: float = 0.0, what: str = "") -> "Figure":
        """The mean of one value a unit, with Student's interval.

        Raises:
            InputError: there is no value, or one is not finite.
        """
        found = tuple(float(value) for value in values)
        return cls(student_t(found, extra_variance=extra_variance), found, extra_variance, what)

    def p(self, against: float) -> float | None:
        """Two-sided p value of the mean being ``against``; None where no spread is known.

        Without values it is taken from the end of the interval on the side of ``against``; the other end may
        be cut short by a bound, and would make the interval look narrower than it is.
        """
        if self.mean.low is None or self.mean.high is None:
            return None
        distance = self.mean.value - against
        if not self.values:
            reach = (self.mean.value - self.mean.low) if distance > 0 else (self.mean.high - self.mean.value)
            return self._p_of(abs(distance) / reach) if reach > 0 else None
        error = float(np.std(self.values, ddof=1)) * (1 / len(self.values) + self.extra_variance) ** 0.5
        return float(2 * special.stdtr(len(self.values) - 1, -abs(distance) / error))

    def _p_of(self, share: float) -> float:
        """Two-sided p value of so many half widths of the 95 % interval."""
        if self.degrees is None:
            return float(2 * special.ndtr(-share * float(special.ndtri(0.975))))
        quantile = float(special.stdtrit(self.degrees, 0.975))
        return float(2 * special.stdtr(self.degrees, -share * quantile))

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionary that JSON can hold."""
        return {
            **self.mean.to_dict(),
            "values": list(self.values),
            "extra_variance": self.extra_variance,
            "what": self.what,
            **({} if self.degrees is None else {"degrees": self.degrees}),
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "Figure":
        """Inverse of `to_dict`."""
        mean = Estimate(*(fields[key] for key in ("value", "low", "high", "how")))
        rest = fields["extra_variance"], fields["what"], fields.get("degrees")
        return cls(mean, tuple(fields["values"]), *rest)


def rounded(value: float) -> str:
    """A figure as a page shows it: three decimals, or fewer digits where it is small or large.

    Example:
        >>> rounded(0.01841), rounded(3.344e-05), rounded(1792594.0)
        ('0.018', '3.3e-05', '1.793e+06')
    """
    small, large = 0 < abs(value) < 0.001, abs(value) >= 10
    return f"{value:.4g}" if large else f"{value:.2g}" if small else f"{value:.3f}"


def run_figure(result: RunResult, metric: str) -> float:
    """One test figure of a run: a metric of ``compare``, or ``recall of NAME`` and the like for one class.

    Raises:
        InputError: the run has no such figure or class.

    Example:
        >>> result = {"test": {"classes": [{"name": "cat", "recall": {"value": 0.5}}]}}
        >>> run_figure(result, "recall of cat")
        0.5
    """
    kind, of, name = metric.partition(" of ")
    if not of:
        try:
            return overall(result, metric)
        except (KeyError, StopIteration, TypeError) as error:  # no such key, or no class in focus
            raise InputError(
                f"metric must be one that runs have, got {metric!r}; take macro_f1, say"
            ) from error
    rows = {str(row["name"]): row for row in result["test"]["classes"]}
    if name not in rows:
        raise InputError(f"metric {metric!r} must name a class, got {name!r}; {nearest(name, rows)}")
    if kind not in rows[name] or kind not in _OF_CLASSES:
        raise InputError(
            f"metric must be one of {', '.join(_OF_CLASSES)} that the run has of a class, got {kind!r} in "
            f"{metric!r}"
        )
    return float(rows[name][kind]["value"])


def units(results: Sequence[RunResult], metric: str) -> dict[int, float]:
    """One value a unit: by split where there are several, averaged over its seeds, else by seed.

    Example:
        >>> runs = [{"seed": s, "split_seed": i, "test": {"accuracy": {"value": v}}}
        ...         for s, i, v in [(0, 0, 0.2), (1, 0, 0.4), (0, 1, 0.6)]]
        >>> {unit: round(value, 3) for unit, value in units(runs, "accuracy").items()}
        {0: 0.3, 1: 0.6}
    """
    several = len({result["split_seed"] for result in results}) > 1
    gathered: dict[int, list[float]] = {}
    for result in results:
        unit = int(result["split_seed"] if several else result["seed"])
        gathered.setdefault(unit, []).append(run_figure(result, metric))
    return {unit: float(np.mean(values)) for unit, values in gathered.items()}


def pair_of(result: RunResult) -> tuple[int, int]:
    """Split and seed of a run: what it has in common with the run of another method.

    Example:
        >>> pair_of({"seed": 2, "split_seed": 0})
        (0, 2)
    """
    return int(result["split_seed"]), int(result["seed"])


def difference(
    results: Sequence[RunResult], against: Sequence[RunResult] | None, metric: str, *, own_test: bool
) -> Figure:
    """A method's figure, or how far it is above another's on the same units.

    Args:
        results: of the method.
        against: of the other one; None gives the figure itself.
        metric: as for `run_figure`.
        own_test: whether all runs share one test set; otherwise splits were drawn anew, which widens
            the interval (Nadeau and Bengio 2003).

    Raises:
        InputError: no unit in common.

    Example:
        >>> run = {"seed": 0, "split_seed": 0, "test": {"accuracy": {"value": 0.5}}}
        >>> difference([run], [run], "accuracy", own_test=True).mean.value
        0.0
    """
    if against is None:
        values = units(results, metric)
    else:
        shared = {pair_of(run) for run in results} & {pair_of(run) for run in against}
        results = [run for run in results if pair_of(run) in shared]
        others = units([run for run in against if pair_of(run) in shared], metric)
        values = {unit: value - others[unit] for unit, value in units(results, metric).items()}
    if not values:
        raise InputError(
            f"{metric} must be known for the same seeds of both methods, got none in common; "
            "run the missing seeds"
        )
    split_anew = not own_test and len({result["split_seed"] for result in results}) > 1
    ratios = [run["test"]["images"] / run["train_images"] for run in results] if split_anew else [0.0]
    return Figure.over(list(values.values()), extra_variance=float(np.mean(ratios)), what=metric)
