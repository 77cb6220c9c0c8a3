"""Reliability of finished runs by class: calibration, False Head Rate, abstention and conformal sets.

Read from the stored logits of group ``runs``; nothing is trained. Beside a method stand those of
``settings.posthoc``: its runs under a posthoc method fitted on validation logits.

Figures are ``METHOD.NAME`` and, against the reference, ``METHOD.NAME.change``:

- ``ece`` on the test images, ``ece_prior`` with test images weighted to the mix of classes in training;
- ``gap_head``, ``gap_tail``: mean confidence less share right over the images of a third of the classes;
  ``gap_tail_minus_head``;
- ``fhr``, ``false_tail``, ``fhr_minus_false_tail``;
- ``aurc``; ``answered_gap``, share of head images answered less that of tail images at the threshold chosen
  on validation images; ``gain``, ``gain_tail``: share right of the answered less share right of all;
- conformal sets with one limit (``marginal``) or one a class (``class``), calibrated on validation images
  (``val``) or on half of the test images of each class (``half``, mean over ``settings.splits`` draws; the
  other half is covered): ``SOURCE.WAY.all``, ``.tail``, ``.size``, and ``SOURCE.larger``, size by class less
  size with one limit.
"""

import itertools
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tailgrad.checks import InputError
from tailgrad.evaluate import Conformal, Reliability, conformal, evaluate_reliability
from tailgrad.evaluate.reliability import ReliabilityOptions
from tailgrad.evaluate.softmax import softmax
from tailgrad.evidence.figures import Figure
from tailgrad.evidence.lab import Analysis, Lab, Table
from tailgrad.evidence.measured import cell_name, figure_of, measured
from tailgrad.recipes.components import build
from tailgrad.recipes.run_folder import RunFolder
from tailgrad.report.stored_logits import stored_logits
from tailgrad.types import ClassInfo

Runs = dict[str, list[dict[str, Any]]]
Part = tuple[NDArray[Any], NDArray[np.int64]]
GROUP = "runs"
WAYS = ("marginal", "class")
SHOWN = ("ece", "ece_prior", "gap_head", "gap_tail", "fhr", "false_tail", "answered_gap")
SETS = tuple(
    f"{source}.{way}.{what}" for source in ("val", "half") for way in WAYS for what in ("tail", "size")
)


def analyse(lab: Lab) -> Analysis:
    """See above."""
    runs: Runs = {}
    found = lab.runs(GROUP)
    lab.expect(sum(map(len, found.values())))
    for method, folders in found.items():
        for folder in folders:
            values = lab.cell(cell_name(folder), partial(_measures, folder, method, lab.settings))
            for name, one in values.items():
                runs.setdefault(name, []).append(measured(folder.result(), one))
    figures = _figures(runs, str(lab.settings["reference"]))
    return Analysis(figures, [_table("By method", figures, SHOWN), _table("Conformal sets", figures, SETS)])


def _measures(folder: RunFolder, method: str, settings: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    known = folder.result()["classes"]
    classes = ClassInfo(tuple(known["names"]), tuple(known["counts"]))
    options = ReliabilityOptions(alpha=float(settings["alpha"]))
    posthoc = settings["posthoc"].get(method, {})
    return {
        name: values_of(val, test, classes, options, int(settings["splits"]))
        for name, val, test in _variants(folder, method, posthoc, classes)
    }


def _variants(
    folder: RunFolder, method: str, posthoc: Mapping[str, Mapping[str, Any]], classes: ClassInfo
) -> Iterator[tuple[str, Part, Part]]:
    """The run as it is, and under every posthoc method fitted on its validation logits."""
    val, test = (stored_logits(folder.path, part) for part in ("val", "test"))
    yield method, val, test
    for name, component in posthoc.items():
        made = build("posthoc", component["name"], component.get("options", {}), list(classes.counts))
        made.fit(torch.tensor(val[0]), torch.tensor(val[1]))
        changed = [(made.transform(torch.tensor(z)).numpy(), y) for z, y in (val, test)]
        yield name, changed[0], changed[1]


def values_of(
    val: Part, test: Part, classes: ClassInfo, options: ReliabilityOptions, splits: int
) -> dict[str, float]:
    """All figures of one model.

    Args:
        val: logits [n, K] and class indices [n].
        test: logits [N, K] and class indices [N].
        classes: names and training counts.
        options: with alpha.
        splits: how often the test images are cut into halves.

    Raises:
        InputError: conformal sets cannot be made.

    Example: see ``tests/evidence/test_reliability.py``.
    """
    found = evaluate_reliability(val, test, classes, options)
    told = found.abstention
    head, tail = (told.groups[name] for name in ("head", "tail"))
    gaps = {name: gap.value for name, gap in found.group_gaps.items() if gap is not None}
    rates = found.false_head
    return {
        "ece": found.ece,
        "ece_prior": weighted_ece(softmax(test[0]), test[1], np.array(classes.counts)),
        "gap_head": gaps["head"],
        "gap_tail": gaps["tail"],
        "gap_tail_minus_head": gaps["tail"] - gaps["head"],
        "fhr": rates.rate.value,
        "false_tail": rates.false_tail.value,
        "fhr_minus_false_tail": rates.rate.value - rates.false_tail.value,
        "aurc": told.aurc,
        "answered_gap": head.answered.value - tail.answered.value,
        "gain": _gain(told.overall),
        "gain_tail": _gain(tail),
        **_sets("val", *(_way(found, way) for way in WAYS)),
        **_halves(test, classes, options.alpha, splits),
    }


def _gain(one: Any) -> float:
    return float("nan") if one.after is None else float(one.after.value - one.before.value)


def _way(found: Reliability, name: str) -> Conformal:
    sets = found.way(name)
    if sets is None:
        raise InputError(found.no_sets)
    return sets


def weighted_ece(
    p: NDArray[np.float64], target: NDArray[np.int64], counts: NDArray[Any], bins: int = 15
) -> float:
    """Calibration error of the predicted class as if classes came in proportion to ``counts``.

    Args:
        p: probabilities [N, K].
        target: class indices [N].
        counts: wanted mix of the classes [K].
        bins: of equal width, closed on the right.

    Example:
        >>> p = np.array([[0.8, 0.2], [0.8, 0.2]])
        >>> round(weighted_ece(p, np.array([0, 1]), np.array([4, 1])), 6)
        0.0
    """
    weight = (counts / np.maximum(np.bincount(target, minlength=len(counts)), 1))[target]
    gap = weight * (p.max(1) - (p.argmax(1) == target))
    which = np.maximum(np.searchsorted(np.linspace(0, 1, bins + 1), p.max(1), side="left") - 1, 0)
    return float(np.abs(np.bincount(which, gap)).sum() / weight.sum())


def _sets(source: str, marginal: Conformal, by_class: Conformal) -> dict[str, float]:
    found = {f"{source}.larger": by_class.size.value - marginal.size.value}
    for way, sets in zip(WAYS, (marginal, by_class), strict=True):
        stem = f"{source}.{way}"
        found |= {f"{stem}.all": sets.coverage.value, f"{stem}.size": sets.size.value}
        found[f"{stem}.tail"] = sets.groups["tail"].value
    return found


def _halves(test: Part, classes: ClassInfo, alpha: float, splits: int) -> dict[str, float]:
    """Means over draws of half of the test images of each class for calibration."""
    p, target = softmax(test[0]), test[1]
    drawn = []
    for seed in range(splits):
        here = _half(target, np.random.default_rng(seed))
        parts = (p[here], target[here]), (p[~here], target[~here])
        sets = [conformal(*parts, classes.counts, way, alpha) for way in ("marginal", "class")]
        drawn.append(_sets("half", sets[0], sets[1]))
    return {name: float(np.mean([one[name] for one in drawn])) for name in drawn[0]}


def _half(target: NDArray[np.int64], random: np.random.Generator) -> NDArray[np.bool_]:
    found = np.zeros(len(target), dtype=np.bool_)
    for k in np.unique(target):
        own = random.permutation(np.flatnonzero(target == k))
        found[own[: (len(own) + 1) // 2]] = True
    return found


def _figures(runs: Runs, reference: str) -> dict[str, Figure]:
    names = sorted({name for found in runs.values() for run in found for name in run["test"]})
    found: dict[str, Figure | None] = {}
    for method, name in itertools.product(runs, names):
        own = runs[method]
        if not any(_is_bare(run["test"].get(name)) for run in own):
            continue
        found[f"{method}.{name}"] = figure_of(own, name)
        if method != reference:
            found[f"{method}.{name}.change"] = figure_of(own, name, runs[reference])
    return {name: figure for name, figure in found.items() if figure is not None}


def _is_bare(stored: object) -> bool:
    """A figure without an interval of its own."""
    return isinstance(stored, dict) and set(stored) == {"value"}


def _table(title: str, figures: Mapping[str, Figure], columns: tuple[str, ...]) -> Table:
    methods = dict.fromkeys(name.partition(".")[0] for name in figures)
    rows = tuple(
        (
            method,
            *(
                str(figures[f"{method}.{name}"].mean) if f"{method}.{name}" in figures else ""
                for name in columns
            ),
        )
        for method in methods
    )
    return Table(
        title, ("method", *(name.replace("_", " ") for name in columns)), rows, "Means over splits, 95 %."
    )
