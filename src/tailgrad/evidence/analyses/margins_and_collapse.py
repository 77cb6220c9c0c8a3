"""Margins and neural collapse, class by class and over all, as explanation of what size and balance do.

Read from finished runs; nothing is trained. Per run, at the best epoch: ``margin_head`` and ``margin_tail``
are the mean logit margins ``z_y - max_{j != y} z_j`` of test images of the frequent and the rare third, in
standard deviations of an image's logits over the classes, which makes networks comparable; ``margin_gap`` is
head minus tail. ``nc1``, ``equiangular`` (NC2), ``nc3`` and ``nc4`` are the signs of neural collapse on
training (``_train``) and held-out images, 0 at collapse. ``scatter_train_head`` and the like are means over
the frequent or the rare third of NC1 of one class, ``tr Sigma_c / |mu_c - mu_G|^2``; ``nc4_train_head`` is of
the share of its images whose nearest class mean is not the prediction. A table has each class by itself.

Figures: ``GROUP.METHOD.WHAT``, ``.change`` against ``settings.reference`` of the same group,
``WHAT.GROUP.BALANCED`` the mean over methods of a group compared with ``settings.balanced``, and
``rank.A.B`` for ``settings.rank``: the rank correlation over methods of the accuracies of two groups, seed by
seed.

Source: arXiv 2312.02517 (in words).
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr

from tailgrad.checks import InputError
from tailgrad.evaluate import thirds
from tailgrad.evidence.analyses.stored_logits import Part, stored_logits
from tailgrad.evidence.figures import Figure, pair_of, units
from tailgrad.evidence.lab import Analysis, Lab, Table
from tailgrad.evidence.measured import cell_name, figure_of, measured
from tailgrad.interference import Interference
from tailgrad.recipes.run_folder import RunFolder

Runs = dict[str, dict[str, list[dict[str, Any]]]]
MARGINS = ("margin_head", "margin_tail", "margin_gap")
STAGES = ("train", "heldout")
COLLAPSE = tuple(f"{sign}_{stage}" for stage in STAGES for sign in ("nc1", "equiangular", "nc3", "nc4"))
BY_CLASS = ("margin", *(f"{sign}_{stage}" for stage in STAGES for sign in ("scatter", "nc4")))
PARTS = ("head", "tail")
SHOWN = (*MARGINS, *COLLAPSE)
WHAT = (*SHOWN, *(f"{name}_{part}" for name in BY_CLASS[1:] for part in PARTS))
_FLAT = 1e-12
_COLUMNS = 20
"""Classes up to which each has a column of its own."""


def analyse(lab: Lab) -> Analysis:
    """See above.

    Raises:
        InputError: a run is damaged, or ``settings.rank`` names a group that is not there.
    """
    lab.expect(sum(len(found) for group in lab.groups for found in lab.runs(group).values()))
    runs: Runs = {
        group: {method: [_run(lab, run) for run in found] for method, found in lab.runs(group).items()}
        for group in lab.groups
    }
    figures = _figures(runs, str(lab.settings["reference"])) | _gaps(runs, str(lab.settings["balanced"]))
    first, second = lab.settings["rank"]
    figures[f"rank.{first}.{second}"] = _rank(runs, str(first), str(second))
    tables = [table for group, methods in runs.items() for table in _tables(group, methods)]
    return Analysis(figures, tables)


def _run(lab: Lab, folder: RunFolder) -> dict[str, Any]:
    kept = lab.cell(cell_name(folder), partial(_measures, folder))
    return measured(folder.result(), kept["figures"]) | {"by_class": kept["by_class"]}


def _measures(folder: RunFolder) -> dict[str, Any]:
    parts = thirds([int(n) for n in folder.result()["classes"]["counts"]])
    by_class = {"margin": class_margins(stored_logits(folder, "test"))}
    found: dict[str, float] = {}
    for stage in STAGES:
        path = folder.path / "interference" / f"{stage}.json"
        if path.exists():
            seen = Interference.load(path)
            found |= _collapse(stage, seen)
            by_class |= _class_collapse(stage, seen)
    found |= {f"{n}_{part}": _mean(x[list(parts[part])]) for n, x in by_class.items() for part in PARTS}
    found["margin_gap"] = found["margin_head"] - found["margin_tail"]
    return {"figures": found, "by_class": {name: values.tolist() for name, values in by_class.items()}}


def _mean(values: Any) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else float("nan")


def class_margins(part: Part) -> Any:
    """Mean margin of each class [K] in standard deviations of an image's logits; NaN without an image.

    Example:
        >>> logits = torch.tensor([[2.0, 0.0], [0.0, 2.0], [2.0, 0.0]])
        >>> class_margins(Part(logits, torch.tensor([0, 1, 1])))
        array([2., 0.])
    """
    logits = part.logits.double()
    own = logits.gather(1, part.target[:, None])[:, 0]
    others = logits.scatter(1, part.target[:, None], -torch.inf).amax(1)
    margins = ((own - others) / logits.std(1, correction=0).clamp_min(_FLAT)).numpy()
    target, number = part.target.numpy(), logits.shape[1]
    counts = np.bincount(target, minlength=number)
    return np.bincount(target, margins, minlength=number) / np.where(counts > 0, counts, np.nan)


def _collapse(stage: str, seen: Interference) -> dict[str, float]:
    found = None if seen.geometry is None else seen.geometry.collapse
    if found is None:
        return {}
    signs = {"nc1": found.nc1, "equiangular": found.equiangular, "nc3": found.nc3, "nc4": found.nc4}
    return {f"{sign}_{stage}": float(value) for sign, value in signs.items() if value is not None}


def _class_collapse(stage: str, seen: Interference) -> dict[str, Any]:
    """NC1 and NC4 of each class [K]."""
    if seen.geometry is None or seen.geometry.fisher is None:
        return {}
    with np.errstate(divide="ignore"):
        found = {f"scatter_{stage}": 1 / seen.geometry.fisher}
    collapse = seen.geometry.collapse
    if collapse is not None and collapse.mismatch is not None:
        found[f"nc4_{stage}"] = collapse.mismatch
    return found


def _figures(runs: Runs, reference: str) -> dict[str, Figure]:
    found: dict[str, Figure | None] = {}
    for group, methods in runs.items():
        for method, own in methods.items():
            stem = f"{group}.{method}"
            found |= {f"{stem}.{what}": figure_of(own, what) for what in WHAT}
            if reference in methods and method != reference:
                found |= {f"{stem}.{what}.change": figure_of(own, what, methods[reference]) for what in WHAT}
    return {name: figure for name, figure in found.items() if figure is not None}


def _gaps(runs: Runs, balanced: str) -> dict[str, Figure]:
    """How the mean over methods differs from the balanced control, for methods that both have."""
    found: dict[str, Figure | None] = {}
    for group in set(runs) - {balanced} if balanced in runs else ():
        shared = sorted(set(runs[group]) & set(runs[balanced]))
        for what in WHAT if shared else ():
            own, control = (_mean_runs([runs[g][m] for m in shared], what) for g in (group, balanced))
            found[f"{what}.{group}.{balanced}"] = figure_of(own, what, control) if own and control else None
    return {name: figure for name, figure in found.items() if figure is not None}


def _mean_runs(methods: Sequence[Sequence[Mapping[str, Any]]], what: str) -> list[dict[str, Any]]:
    """Run by run the mean over methods; runs that not all methods have are left out."""
    kept = [[run for run in runs if what in run["test"]] for runs in methods]
    found = []
    for run in kept[0]:
        same = [other for runs in kept for other in runs if pair_of(other) == pair_of(run)]
        if len(same) == len(kept):
            mean = float(np.mean([other["test"][what]["value"] for other in same]))
            found.append(measured(run, {what: mean}))
    return found


def _rank(runs: Runs, first: str, second: str) -> Figure:
    for group in (first, second):
        if group not in runs:
            raise InputError(f"settings.rank must name two groups, got {group!r}; name some of {list(runs)}")
    shared = sorted(set(runs[first]) & set(runs[second]))
    tables = [{m: units(runs[g][m], "accuracy") for m in shared} for g in (first, second)]
    common = set.intersection(*(set(table[m]) for table in tables for m in shared)) if shared else set()
    values = [
        _correlation(*([table[m][unit] for m in shared] for table in tables)) for unit in sorted(common)
    ]
    return Figure.over(values, what="rank correlation of accuracies")


def _correlation(first: Sequence[float], second: Sequence[float]) -> float:
    """0 where one of the two does not vary."""
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    return float(spearmanr(first, second).statistic)


def _tables(group: str, methods: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[Table]:
    rows = []
    for method, runs in methods.items():
        found = [figure_of(runs, what) for what in ("accuracy", *SHOWN)]
        rows.append((method, *("-" if figure is None else str(figure.mean) for figure in found)))
    whole = Table(
        f"Margins and neural collapse, {group}",
        ("method", "accuracy", *(what.replace("_", " ") for what in SHOWN)),
        tuple(rows),
        "Margins of test images in standard deviations of their logits. Signs of collapse are 0 at collapse.",
    )
    classes = next(iter(methods.values()))[0]["classes"]["names"]
    return [whole, _class_table(group, methods, classes)] if len(classes) <= _COLUMNS else [whole]


def _class_table(
    group: str, methods: Mapping[str, Sequence[Mapping[str, Any]]], classes: Sequence[str]
) -> Table:
    rows = []
    for method, runs in methods.items():
        for name in (name for name in BY_CLASS if any(name in run["by_class"] for run in runs)):
            kept = [run["by_class"][name] for run in runs if name in run["by_class"]]
            means = map(_mean, np.array(kept, dtype=np.float64).T)
            rows.append((method, name.replace("_", " "), *("-" if m != m else f"{m:.3g}" for m in means)))
    return Table(
        f"Margins and neural collapse by class, {group}",
        ("method", "sign", *classes),
        tuple(rows),
        "Means over runs. scatter: NC1 of the class, its variance over the squared length of its centred "
        "mean; nc4: its share of images whose nearest class mean is not the prediction.",
    )
