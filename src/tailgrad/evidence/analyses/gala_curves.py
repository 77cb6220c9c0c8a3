"""GALA's five diagnostic curves over the classes, and what prediction re-balancing makes of finished runs.

Measured at the best epoch, from what a run keeps; nothing is trained. One number a class:

- ``row_norms``: length of the classifier's row.
- ``pull``: logit gradients from the class's own training images over those from the others'.
- ``negatives``: share of the negative gradient on a logit that images of the frequent third cause, measured
  on validation images, which have the training prior.
- ``alignment``: cosine of the classifier's row and the mean feature of the class, held-out images.
- ``predictions``: test images that are predicted as the class.

The figure ``GROUP.METHOD.CURVE`` is the rank correlation of a curve with the training counts, ``.change`` its
size compared with that of the method ``settings.reference``, so that below 0 is more even. Accuracy after
re-balancing: ``inductive`` (marginal of validation images), ``transductive`` (of the test images, as
released), ``transductive_tuned`` (tau tuned on validation images, whose class-balanced mean stands in for
that of the balanced test images), each with ``_gain`` over the run's own.

Source: arXiv 2403.09036.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr

from tailgrad.evaluate import thirds
from tailgrad.evidence.analyses.stored_logits import Part, stored_logits
from tailgrad.evidence.figures import Figure
from tailgrad.evidence.lab import Analysis, Lab, Table
from tailgrad.evidence.measured import cell_name, figure_of, measured
from tailgrad.interference import Interference
from tailgrad.interference.collapse import classifier_weight
from tailgrad.posthoc import PredictionRebalancing
from tailgrad.recipes.restore import restore
from tailgrad.recipes.run_folder import RunFolder

Array = NDArray[np.float64]
Runs = Mapping[str, Sequence[Mapping[str, Any]]]
CURVES = ("row_norms", "pull", "negatives", "alignment", "predictions")
REBALANCED = ("inductive", "transductive", "transductive_tuned")
_ACCURACY = (*REBALANCED, *(f"{name}_gain" for name in REBALANCED))


def analyse(lab: Lab) -> Analysis:
    """See above.

    Raises:
        InputError: a run is damaged.
    """
    figures: dict[str, Figure] = {}
    tables: list[Table] = []
    lab.expect(sum(len(found) for group in lab.groups for found in lab.runs(group).values()))
    for group in lab.groups:
        runs = {method: [_run(lab, run) for run in found] for method, found in lab.runs(group).items()}
        for method in runs:
            figures |= _figures(f"{group}.{method}", runs, method, str(lab.settings["reference"]))
        tables += [_curve_table(group, runs), _accuracy_table(group, runs, figures)]
    return Analysis(figures, tables)


def _run(lab: Lab, folder: RunFolder) -> dict[str, Any]:
    kept = lab.cell(cell_name(folder), partial(_measures, folder))
    return measured(folder.result(), kept["figures"]) | {"curves": kept["curves"]}


def _measures(folder: RunFolder) -> dict[str, Any]:
    counts = np.array(folder.result()["classes"]["counts"])
    curves = _curves(folder, counts)
    slopes = {name: _slope(curve, counts) for name, curve in curves.items()}
    sizes = {f"{name}_size": abs(slope) for name, slope in slopes.items()}
    kept = {name: curve.tolist() for name, curve in curves.items()}
    return {"figures": slopes | sizes | _accuracies(folder, counts), "curves": kept}


def _curves(folder: RunFolder, counts: NDArray[np.int64]) -> dict[str, Array]:
    found: dict[str, Array] = {}
    network = restore(folder.path).model
    rows = classifier_weight(network.head, len(counts))
    if rows is not None:
        found["row_norms"] = np.linalg.norm(rows, axis=1)
    place = folder.path / "interference"
    if (place / "train.json").exists():
        pull = Interference.load(place / "train.json").logit_pull
        found |= {} if pull is None else {"pull": pull.ratio}
    if rows is not None and (place / "heldout.json").exists():
        geometry = Interference.load(place / "heldout.json").geometry
        if geometry is not None and geometry.means.shape == rows.shape:
            found["alignment"] = _cosines(rows, geometry.means)
    found["negatives"] = negatives_from_frequent(stored_logits(folder, "val"), counts)
    predicted = stored_logits(folder, "test").logits.argmax(1)
    found["predictions"] = np.bincount(predicted, minlength=len(counts)).astype(np.float64)
    return found


def _cosines(a: Array, b: Array) -> Array:
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    cosines: Array = (a * b).sum(1) / np.where(lengths > 0, lengths, np.nan)
    return cosines


def negatives_from_frequent(part: Part, counts: Sequence[int] | NDArray[np.int64]) -> Array:
    """Share of ``sum_{i: y_i != j} p_ij`` that comes from examples of the frequent third, for each j [K].

    Args:
        part: logits and classes of examples.
        counts: training examples of each class, which say which are frequent.

    Example:
        >>> part = Part(torch.zeros(4, 3), torch.tensor([0, 0, 0, 1]))
        >>> negatives_from_frequent(part, [9, 3, 1]).round(2)
        array([0.  , 1.  , 0.75])
    """
    pushes = torch.softmax(part.logits.double(), 1)
    pushes[torch.arange(len(pushes)), part.target] = 0
    head = torch.isin(part.target, torch.tensor(thirds([int(n) for n in counts])["head"]))
    total = pushes.sum(0)
    shares: Array = (pushes[head].sum(0) / total.where(total > 0, torch.nan)).numpy()
    return shares


def _slope(curve: Array, counts: NDArray[np.int64]) -> float:
    """Rank correlation with the counts; 0 where the curve is flat."""
    known = np.isfinite(curve)
    if known.sum() < 2 or np.ptp(curve[known]) == 0 or np.ptp(counts[known]) == 0:
        return 0.0
    return float(spearmanr(curve[known], counts[known]).statistic)


def _accuracies(folder: RunFolder, counts: NDArray[np.int64]) -> dict[str, float]:
    val, test = stored_logits(folder, "val"), stored_logits(folder, "test")
    plain = _accuracy(test.logits, test.target)
    found = {}
    for name, method in rebalanced(val, counts).items():
        found[name] = _accuracy(method.transform(test.logits), test.target)
        found[f"{name}_gain"] = found[name] - plain
    return found


def rebalanced(val: Part, counts: NDArray[np.int64]) -> dict[str, PredictionRebalancing]:
    """The ways of re-balancing, ready for logits of test images.

    With tau tuned on the plain mean of long-tailed images, as a transductive rule takes it, tau would be that
    of images with the training prior, where any division over-corrects: too small for balanced test images.

    Args:
        val: logits and classes of validation images.
        counts: training examples of each class [K].

    Example: see ``tests/evidence/test_gala_curves.py``.
    """
    known = counts.tolist()
    tau = float(PredictionRebalancing(known, tau="tuned").fit(val.logits, val.target).tau)
    return {
        "inductive": PredictionRebalancing(known).fit(val.logits, val.target),
        "transductive": PredictionRebalancing(known, mode="transductive"),
        "transductive_tuned": PredictionRebalancing(known, mode="transductive", tau=tau),
    }


def _accuracy(logits: torch.Tensor, target: torch.Tensor) -> float:
    return float((logits.argmax(1) == target).double().mean())


def _figures(stem: str, runs: Runs, method: str, reference: str) -> dict[str, Figure]:
    found = {what: figure_of(runs[method], what) for what in (*CURVES, *_ACCURACY)}
    if reference in runs and reference != method:
        for curve in CURVES:
            found[f"{curve}.change"] = figure_of(runs[method], f"{curve}_size", runs[reference])
    return {f"{stem}.{what}": figure for what, figure in found.items() if figure is not None}


def _curve_table(group: str, runs: Runs) -> Table:
    rows = []
    for method, found in runs.items():
        parts = thirds([int(n) for n in found[0]["classes"]["counts"]])
        for curve in CURVES:
            if curve in found[0]["curves"]:
                cells = (
                    _mean_of([run["curves"][curve] for run in found], parts.get(part, ())) for part in _PARTS
                )
                rows.append((method, curve.replace("_", " "), *cells))
    return Table(f"Curves over the classes, {group}", ("method", "curve", *_PARTS), tuple(rows), _NOTE)


_PARTS = ("head", "middle", "tail")
_NOTE = "Means over classes of each third by training count, and over runs."


def _mean_of(curves: Sequence[Sequence[float | None]], classes: Sequence[int]) -> str:
    values = [curve[k] for curve in curves for k in classes]
    known = [value for value in values if value is not None]
    return f"{np.mean(known):.3g}" if known else "-"


def _accuracy_table(group: str, runs: Runs, figures: Mapping[str, Figure]) -> Table:
    rows = []
    for method, found in runs.items():
        plain = figure_of(found, "accuracy")
        cells = [plain, *(figures.get(f"{group}.{method}.{name}") for name in REBALANCED)]
        rows.append((method, *("-" if cell is None else str(cell.mean) for cell in cells)))
    header = ("method", "accuracy", *(name.replace("_", " ") for name in REBALANCED))
    return Table(f"Accuracy with prediction re-balancing, {group}", header, tuple(rows))
