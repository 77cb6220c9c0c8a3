"""The CSBA paper's tables beside per-class figures: branches, parameters, generalisation, conflict of pairs.

Read from finished runs; nothing is trained. Per run, at the best epoch: ``conflict`` is the mean cosine of
two classes' gradients of the backbone, ``null`` what softmax and prior alone would give, ``excess`` their
difference; ``_train`` and ``_heldout`` say on which images. ``all_train`` is the paper's own: all parameters,
training images. ``share`` is the mean over classes of the largest branch's share of the gradient norm (a
third where branches do the same), ``together`` whether two classes have theirs in the same branch, ``gap``
the loss held out minus that on training images, both without class weights and weighed by the training prior.
``worst_of_reference``, ``worst_of_method`` and ``named`` are mean changes against the reference, of
``.conflict`` or ``.excess``, over the six most opposed pairs of either run and those of ``settings.pairs``.

Figures: ``GROUP.METHOD.WHAT``, and ``GROUP.METHOD.WHAT.change`` against the reference on the same units.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from tailgrad.checks import one_of
from tailgrad.evaluate import Estimate
from tailgrad.evidence.figures import Figure, difference, pair_of
from tailgrad.evidence.lab import Analysis, Lab, Table
from tailgrad.evidence.measured import cell_name, figure_of, measured
from tailgrad.interference import Interference
from tailgrad.interference.branches import Branches
from tailgrad.recipes.run_folder import RunFolder

Runs = dict[tuple[str, str], list[dict[str, Any]]]
STAGES = ("train", "heldout")
_CONFLICT = tuple(f"{what}_{stage}" for what in ("conflict", "null", "excess") for stage in STAGES)
WHAT = (*_CONFLICT, "all_train", "spread_train", "share", "together", "gap", "val_accuracy", "f1_of_others")
_SIZES = ("parameters", "val_accuracy", "gap", "f1_of_others")
_WORST = 6
_RULES = {
    "worst_of_reference": "Most opposed pairs",
    "worst_of_method": "Most opposed pairs",
    "named": "Pairs",
}
"""How pairs of classes are chosen, with the title of their table."""


def analyse(lab: Lab) -> Analysis:
    """See above; ``settings``: ``reference`` (group and method), ``leave_out`` (class), ``together`` (two).

    ``settings.pairs``, two classes each, may be left out.

    Raises:
        InputError: a run is damaged, or lacks a class that ``pairs`` names.
    """
    folders = {(group, m): runs for group in lab.groups for m, runs in lab.runs(group).items()}
    compared = [key for key in folders if _reference(lab, key, folders) is not None]
    lab.expect(sum(map(len, folders.values())) + sum(len(folders[key]) for key in compared))
    runs = {key: [_run(lab, folder) for folder in found] for key, found in folders.items()}
    for key, found in runs.items():
        _add_pairs(lab, key, found, folders)
    figures = {f"{group}.{method}.parameters": _parameters(found) for (group, method), found in runs.items()}
    for key in runs:
        figures |= _figures(lab, key, runs)
    return Analysis(figures, (*_tables(lab, runs, figures), *_class_tables(runs)))


def _reference(
    lab: Lab, key: tuple[str, str], known: Mapping[tuple[str, str], Any]
) -> tuple[str, str] | None:
    """The baseline of the same group, else the study's."""
    named = lab.settings["reference"]
    for group in (key[0], str(named["group"])):
        found = (group, str(named["method"]))
        if found in known:
            return None if found == key else found
    return None


def _run(lab: Lab, folder: RunFolder) -> dict[str, Any]:
    result = folder.result()
    return measured(result, lab.cell(cell_name(folder), partial(_measures, lab, folder, result)))


def _measures(lab: Lab, folder: RunFolder, result: Mapping[str, Any]) -> dict[str, float]:
    found = _stages(folder)
    values = {name: value for stage, seen in found.items() for name, value in _conflict(stage, seen).items()}
    if "train" in found:
        values |= _branches(found["train"], lab.settings.get("together", ()))
    if len(found) == len(STAGES):
        values["gap"] = _gap(found["train"], found["heldout"])
    values["val_accuracy"] = float(result["val"]["accuracy"]["value"])
    rows = [row for row in result["test"]["classes"] if row["name"] != lab.settings.get("leave_out")]
    values["f1_of_others"] = float(np.mean([row["f1"]["value"] for row in rows]))
    return values


def _stages(folder: RunFolder) -> dict[str, Interference]:
    place = folder.path / "interference"
    return {
        stage: Interference.load(place / f"{stage}.json")
        for stage in STAGES
        if (place / f"{stage}.json").exists()
    }


def _conflict(stage: str, seen: Interference) -> dict[str, float]:
    values = {"conflict": seen.mean, "null": seen.mean_null, "excess": seen.mean_excess}
    found = {f"{name}_{stage}": value for name, value in values.items()}
    if stage == "train":
        pairs = _pairs(seen.groups["all"])
        found |= {"all_train": float(pairs.mean()), "spread_train": float(pairs.std())}
    return found


def _pairs(matrix: Any) -> Any:
    values = np.asarray(matrix)[np.triu_indices(len(matrix), 1)]
    return values[~np.isnan(values)]


def _branches(seen: Interference, together: Sequence[str]) -> dict[str, float]:
    if seen.branches is None or len(seen.branches.names) < 2:
        return {}
    shares = seen.branches.shares
    found = {"share": float(np.nanmean(shares.max(0)))}
    if len(together) == 2 and set(together) <= set(seen.class_names):
        first, second = (seen.class_names.index(name) for name in together)
        found["together"] = float(shares[:, first].argmax() == shares[:, second].argmax())
    return found


def _gap(train: Interference, heldout: Interference) -> float:
    counts = train.counts if train.train_counts is None else train.train_counts
    seen = (train.counts > 0) & (heldout.counts > 0)
    return float(np.average((heldout.loss - train.loss)[seen], weights=np.asarray(counts)[seen]))


def _add_pairs(
    lab: Lab, key: tuple[str, str], runs: list[dict[str, Any]], folders: Mapping[tuple[str, str], Any]
) -> None:
    """What became of the most opposed pairs, chosen on the reference and on the method, and of named ones."""
    reference = _reference(lab, key, folders)
    if reference is None:
        return
    others = {pair_of(folder.result()): folder for folder in folders[reference]}
    for place, folder in enumerate(folders[key]):
        other = others.get(pair_of(runs[place]))
        if other is not None:
            name = f"pairs.{cell_name(folder)}"
            kept = lab.cell(name, partial(_moved, other, folder, lab.settings.get("pairs", ())))
            runs[place] = measured(runs[place], kept["changes"]) | {"pairs": kept["pairs"]}


def _moved(reference: RunFolder, method: RunFolder, named: Sequence[Sequence[str]]) -> dict[str, Any]:
    """Mean change of plain conflict and of the excess on chosen pairs, training images."""
    before, after = _stages(reference).get("train"), _stages(method).get("train")
    if before is None or after is None:
        return {"changes": {}, "pairs": {}}
    changes, pairs = {}, {}
    for rule, chosen in zip(_RULES, (_worst(before), _worst(after), named), strict=True):
        rows = [_pair(names, before, after) for names in chosen]
        if not rows:
            continue
        pairs[rule] = rows
        for name in ("conflict", "excess"):
            moved = [row[f"{name}_after"] - row[f"{name}_before"] for row in rows]
            changes[f"{rule}.{name}"] = float(np.mean(moved))
    return {"changes": changes, "pairs": pairs}


def _worst(seen: Interference) -> list[tuple[str, str]]:
    return [(pair.first, pair.second) for pair in seen.worst_pairs(_WORST, by="conflict")]


def _pair(names: Sequence[str], before: Interference, after: Interference) -> dict[str, Any]:
    known = before.class_names
    i, j = (known.index(one_of("a class of settings.pairs", name, known)) for name in names)
    found: dict[str, Any] = {"pair": " and ".join(names)}
    for when, seen in (("before", before), ("after", after)):
        found |= {f"conflict_{when}": float(seen.conflict[i, j]), f"excess_{when}": float(seen.excess[i, j])}
    return found


def _parameters(runs: Sequence[Mapping[str, Any]]) -> Figure:
    number = float(runs[0]["parameters"])
    return Figure(Estimate(number, number, number, "counted"), what="parameters")


def _figures(lab: Lab, key: tuple[str, str], runs: Runs) -> dict[str, Figure]:
    reference = _reference(lab, key, runs)
    found: dict[str, Figure | None] = {}
    for what in WHAT:
        found[what] = figure_of(runs[key], what)
        if reference is not None:
            found[f"{what}.change"] = figure_of(runs[key], what, runs[reference])
    for what in (f"{rule}.{name}" for rule in _RULES for name in ("conflict", "excess")):
        found[what] = figure_of(runs[key], what)
    if reference is not None:
        added = runs[key][0]["parameters"] / runs[reference][0]["parameters"] - 1
        found["parameters.added"] = Figure(Estimate(added, added, added, "counted"), what="share added")
    return {f"{'.'.join(key)}.{what}": figure for what, figure in found.items() if figure is not None}


def _tables(lab: Lab, runs: Runs, figures: Mapping[str, Figure]) -> list[Table]:
    every = "Mean over runs with its 95 % interval, at the best epoch. "
    conflict = every + (
        "Of the backbone; all_train: over all parameters, as in the paper; spread_train: its standard "
        "deviation over pairs."
    )
    gap = every + (
        "Gap: loss held out minus on training images, without class weights, weighed by the training prior. "
        "f1_of_others: macro-F1 without the class that the study leaves out."
    )
    return [
        _table(
            "Conflict between classes", (*_CONFLICT, "all_train", "spread_train"), runs, figures, conflict
        ),
        _table("Parameters and generalisation", _SIZES, runs, figures, gap),
        *_branch_tables(lab),
        *_pair_tables(runs),
    ]


def _table(title: str, columns: Sequence[str], runs: Runs, figures: Mapping[str, Figure], note: str) -> Table:
    rows = tuple((*key, *(_told(figures, key, what) for what in columns)) for key in runs)
    return Table(title, ("group", "method", *(what.replace("_", " ") for what in columns)), rows, note)


def _told(figures: Mapping[str, Figure], key: tuple[str, str], what: str) -> str:
    found = figures.get(f"{'.'.join(key)}.{what}")
    if found is None:
        return "-"
    return f"{found.mean.value:,.0f}" if what == "parameters" else str(found.mean)


def _branch_tables(lab: Lab) -> list[Table]:
    """Shares of the branches in each class's gradient, of the first run of every method with branches."""
    tables = []
    for group in lab.groups:
        for method, folders in lab.runs(group).items():
            seen = _stages(folders[0]).get("train")
            if seen is not None and seen.branches is not None and len(seen.branches.names) > 1:
                tables.append(_branch_table(f"{method} in {group}", seen.branches, seen.class_names))
    return tables


def _branch_table(of: str, branches: Branches, names: Sequence[str]) -> Table:
    cells = [
        [f"{norm:.3g} ({share:.3f})" for norm, share in zip(norms, shares, strict=True)]
        for norms, shares in zip(branches.norms, branches.shares, strict=True)
    ]
    return Table(
        f"Branch gradients of {of}, first run",
        ("branch", *names),
        tuple((str(b + 1), *row) for b, row in enumerate(cells)),
        f"Norm and, in brackets, share of the class; {branches.null:.3f} where branches do the same. "
        "Which branch is the first means nothing across runs.",
    )


def _pair_tables(runs: Runs) -> list[Table]:
    """Pairs by every choice, of the first run of every method that has a reference."""
    tables = []
    for (group, method), found in runs.items():
        for rule, rows in found[0].get("pairs", {}).items():
            of = f"{method} in {group}, {rule.replace('_', ' ')}, first run"
            tables.append(_pair_table(f"{_RULES[rule]}: {of}", rows))
    return tables


def _pair_table(title: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    columns = ("conflict_before", "conflict_after", "excess_before", "excess_after")
    return Table(
        title,
        ("pair", *(column.replace("_", " ") for column in columns)),
        tuple((row["pair"], *(_signed(row[column]) for column in columns)) for row in rows),
        "Before: the reference; after: the method. Pairs chosen as the worst of one look better in the other "
        "even if nothing changed, so both choices are shown.",
    )


def _signed(value: float | None) -> str:
    return "-" if value is None else f"{value:+.3f}"


def _class_tables(runs: Runs) -> list[Table]:
    return [_class_table(f"{method} in {group}", found) for (group, method), found in runs.items()]


def _class_table(of: str, runs: Sequence[dict[str, Any]]) -> Table:
    kinds = ("precision", "recall", "f1")
    rows = [
        (str(row["name"]), *(_mean(runs, f"{kind} of {row['name']}") for kind in kinds))
        for row in runs[0]["test"]["classes"]
    ]
    return Table(f"Per class: {of}", ("class", "precision", "recall", "F1"), tuple(rows))


def _mean(runs: Sequence[dict[str, Any]], metric: str) -> str:
    """Precision, recall or F1 of a class; an interval of few runs ends where shares do."""
    mean = difference(runs, None, metric, own_test=bool(runs[0]["own_test"])).mean
    if mean.low is None or mean.high is None:
        return str(mean)
    return str(replace(mean, low=max(0.0, mean.low), high=min(1.0, mean.high)))
