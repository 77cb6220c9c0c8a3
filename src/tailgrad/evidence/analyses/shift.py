"""Prior collapse: what finished runs predict on test images that lose their content."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch import Tensor

from tailgrad.data import load_images
from tailgrad.evidence.analyses.corruptions import corrupt
from tailgrad.evidence.analyses.finished_runs import (
    logits_of,
    only_group,
    over_units,
    tail_of,
    with_given_runs,
)
from tailgrad.evidence.figures import Figure
from tailgrad.evidence.lab import Analysis, Lab, Table
from tailgrad.recipes.prepare import open_config
from tailgrad.recipes.restore import Restored, restore
from tailgrad.recipes.run_folder import RunFolder

Floats = NDArray[np.float64]
SAME = 0.02
"""Candidates nearer to one another than this total variation are one."""


def analyse(lab: Lab) -> Analysis:
    """Per run: mean softmax over classes and recalls under every corruption, and which constant they tend to.

    Candidates for the constant are the training prior, the uniform one, and the run's own: what its ledger
    leaves after weights, shifts and sampling (pi under CE, w_c pi_c under weighted CE).

    Example: see ``tailgrad study shift --size smoke``.
    """
    lab = with_given_runs(lab)
    group = only_group(lab)
    lab.expect(sum(map(len, lab.runs(group).values())))
    measured = {method: [_run(lab, group, run) for run in runs] for method, runs in lab.runs(group).items()}
    figures = {
        f"{method}.{name}": figure
        for method, runs in measured.items()
        for name, figure in _figures(runs).items()
    }
    tables = [_by_severity(measured, kind) for kind in lab.settings["kinds"]]
    return Analysis(figures, [_at_the_end(measured), *tables])


def _run(lab: Lab, group: str, run: RunFolder) -> dict[str, Any]:
    result = run.result()
    found = lab.cell(f"{group}.{run.path.name}", lambda: _measured(run, lab.settings))
    counts = result["classes"]["counts"]
    return {
        "kinds": found["kinds"],
        "prior": np.array(counts) / sum(counts),
        "own": np.array(result["prior"]["prior"]),
        "counts": counts,
        "result": result,
    }


def _measured(run: RunFolder, settings: Mapping[str, Any]) -> dict[str, Any]:
    network = restore(run.path)
    images, target = images_of_test(run, network, settings.get("per_class"))
    return {
        "kinds": {
            kind: [
                {"severity": severity, **_seen(network, corrupt(images, kind, severity), target)}
                for severity in settings["severities"]
            ]
            for kind in settings["kinds"]
        }
    }


def images_of_test(
    run: RunFolder, network: Restored, per_class: int | None = None
) -> tuple[Tensor, NDArray[np.int64]]:
    """The test images of a run, uint8 [N, 3, H, W], and their classes [N], as its predictions name them.

    Args:
        run: finished, on a source that is still there.
        network: of the run.
        per_class: at most this many of each class, the first ones; None for all.

    Example: see ``tests/evidence/test_shift.py``.
    """
    rows = pq.read_table(run.path / "predictions.parquet", columns=["part", "name", "target"]).to_pydict()
    test = [(n, y) for p, n, y in zip(rows["part"], rows["name"], rows["target"], strict=True) if p == "test"]
    target = np.array([y for _, y in test], dtype=np.int64)
    kept = np.flatnonzero(_rank_in_class(target) < (len(target) if per_class is None else per_class))
    source = open_config(run.config())
    place = {_plain(source.items.name(i)): i for i in range(len(source.items))}
    positions = [place[test[i][0]] for i in kept]
    return load_images(source, positions, network.size, mode=network.resize), target[kept]


def _plain(name: str) -> str:
    return name.encode("utf-8", "backslashreplace").decode()  # as predictions.parquet has it


def _rank_in_class(target: NDArray[np.int64]) -> NDArray[np.int64]:
    rank = np.zeros_like(target)
    for k in np.unique(target):
        rank[target == k] = np.arange((target == k).sum())
    return rank


def _seen(network: Restored, images: Tensor, target: NDArray[np.int64]) -> dict[str, Any]:
    return class_means(torch.softmax(logits_of(network, images).double(), 1).numpy(), target)


def class_means(probabilities: Floats, target: NDArray[np.int64]) -> dict[str, Any]:
    """Mean prediction, every class counting the same, and recall of each class (null without images).

    Args:
        probabilities: [N, K].
        target: classes [N].

    Example:
        >>> found = class_means(np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), np.array([0, 0, 1]))
        >>> found["mean"], found["recall"]
        ([0.5, 0.5], [1.0, 1.0])
    """
    present = np.unique(target)
    right = probabilities.argmax(1) == target
    recall = {int(k): float(right[target == k].mean()) for k in present}
    mean = np.mean([probabilities[target == k].mean(0) for k in present], axis=0)
    return {"mean": mean.tolist(), "recall": [recall.get(k) for k in range(probabilities.shape[1])]}


def distance(p: Sequence[float] | Floats, q: Sequence[float] | Floats) -> float:
    """Total variation ``sum |p - q| / 2`` of two distributions.

    Example:
        >>> distance([1.0, 0.0], [0.5, 0.5])
        0.5
    """
    return float(np.abs(np.asarray(p) - np.asarray(q)).sum() / 2)


def divergence(p: Sequence[float] | Floats, q: Sequence[float] | Floats) -> float:
    """Kullback and Leibler's ``sum p log(p / q)`` in nats; 0 log 0 is 0.

    Example:
        >>> round(divergence([1.0, 0.0], [0.5, 0.5]), 4)
        0.6931
    """
    a, b = np.asarray(p, np.float64), np.asarray(q, np.float64)
    kept = a > 0
    return float((a[kept] * np.log(a[kept] / np.maximum(b[kept], np.finfo(np.float64).tiny))).sum())


def _candidates(run: Mapping[str, Any]) -> dict[str, Floats]:
    size = len(run["prior"])
    return {"prior": run["prior"], "uniform": np.full(size, 1 / size), "own": run["own"]}


def _end(run: Mapping[str, Any], candidate: Floats, place: int = -1) -> float:
    """Distance to a candidate at one severity, the mean over kinds."""
    return float(np.mean([distance(rows[place]["mean"], candidate) for rows in run["kinds"].values()]))


def _own_nearest(run: Mapping[str, Any]) -> float:
    own = run["own"]
    others = [q for name, q in _candidates(run).items() if name != "own" and distance(q, own) > SAME]
    return min(_end(run, q) for q in others) - _end(run, own)


def _loss(run: Mapping[str, Any], classes: Sequence[int]) -> float:
    """Recall lost by some classes, the mean over kinds and severities above 0."""
    first, later = [], []
    for rows in run["kinds"].values():
        of_classes = [_mean_recall(row, classes) for row in rows]
        first.append(of_classes[0])
        later.append(np.mean(of_classes[1:]))
    return float(np.mean(first) - np.mean(later))


def _mean_recall(row: Mapping[str, Any], classes: Sequence[int]) -> float:
    found = [row["recall"][k] for k in classes if row["recall"][k] is not None]
    return float(np.mean(found)) if found else float("nan")


def _figures(runs: Sequence[Mapping[str, Any]]) -> dict[str, Figure]:
    over = partial(over_units, [run["result"] for run in runs])
    counts = runs[0]["counts"]
    tail, head = tail_of(counts), tail_of(counts, "head")
    found = {
        "to_prior": over(
            [_end(run, run["prior"], 0) - _end(run, run["prior"]) for run in runs],
            "way towards the training prior from clean to worst images, total variation",
        ),
        "own_distance": over(
            [_end(run, run["own"]) for run in runs],
            "distance of the mean prediction on the worst images to the method's own constant",
        ),
        "tail_minus_head_loss": over(
            [_loss(run, tail) - _loss(run, head) for run in runs],
            "recall that the tail loses beyond what the head loses, mean over severities",
        ),
    }
    if _is_imbalanced(runs[0]):
        found["own_nearest"] = over(
            [_own_nearest(run) for run in runs],
            "how much nearer the worst images' prediction is to the method's own constant than to the next",
        )
    return found


def _is_imbalanced(run: Mapping[str, Any]) -> bool:
    candidates = _candidates(run)
    return max(distance(q, candidates["own"]) for q in candidates.values()) > SAME


def _at_the_end(measured: Mapping[str, Sequence[Mapping[str, Any]]]) -> Table:
    rows = []
    for method, runs in measured.items():
        for kind in runs[0]["kinds"]:
            pairs = [(run["kinds"][kind][-1]["mean"], _candidates(run)) for run in runs]
            values = [
                np.mean([measure(mean, candidates[name]) for mean, candidates in pairs])
                for name in ("prior", "uniform", "own")
                for measure in (distance, divergence)
            ]
            rows.append((method, kind, *(f"{value:.3f}" for value in values)))
    header = ("method", "corruption", "TV prior", "KL prior", "TV uniform", "KL uniform", "TV own", "KL own")
    note = (
        "Mean over seeds. 'own' is the constant that the method's ledger leaves: pi_c w_c, normalised. "
        "KL of the mean prediction from the candidate, in nats."
    )
    return Table(
        "Mean prediction on the worst images: distance to three constants", header, tuple(rows), note
    )


def _by_severity(measured: Mapping[str, Sequence[Mapping[str, Any]]], kind: str) -> Table:
    rows = []
    for method, runs in measured.items():
        tail, head = tail_of(runs[0]["counts"]), tail_of(runs[0]["counts"], "head")
        for place, row in enumerate(runs[0]["kinds"][kind]):
            seen = [run["kinds"][kind][place] for run in runs]
            pairs = list(zip(seen, runs, strict=True))
            values = (
                np.mean([distance(s["mean"], run["prior"]) for s, run in pairs]),
                np.mean([distance(s["mean"], run["own"]) for s, run in pairs]),
                np.mean([_mean_recall(s, head) for s in seen]),
                np.mean([_mean_recall(s, tail) for s in seen]),
            )
            rows.append((method, f"{row['severity']:g}", *(f"{value:.3f}" for value in values)))
    header = ("method", "severity", "TV prior", "TV own", "head recall", "tail recall")
    return Table(f"By severity of {kind}", header, tuple(rows), "Mean over seeds.")
