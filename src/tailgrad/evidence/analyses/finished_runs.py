"""Figures of finished runs that several analyses read, and the folder of a comparison made elsewhere."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tailgrad.checks import InputError
from tailgrad.evaluate import thirds, units_of
from tailgrad.evidence.figures import Figure
from tailgrad.evidence.lab import Lab
from tailgrad.recipes.assemble import device_of
from tailgrad.recipes.restore import Restored

SLOT = "runs"
BATCH = 256
Result = Mapping[str, Any]


def with_given_runs(lab: Lab) -> Lab:
    """The lab with its own groups, or with the comparison that the slot ``runs`` names as its only group.

    Raises:
        InputError: there are no groups, and the slot names no folder of a finished comparison.

    Example:
        >>> with_given_runs(Lab(Path("a"), {}, {"mine": Path("b")})).groups
        {'mine': PosixPath('b')}
    """
    if lab.groups:
        return lab
    folder = Path(lab.data.get(SLOT, ""))
    if not (folder / "comparison.json").is_file():
        raise InputError(
            f"data must give the folder of a finished comparison for {SLOT!r}, got {str(folder)!r}; add "
            f"--data {SLOT}=FOLDER, with comparison.json and runs/ in it"
        )
    return replace(lab, groups={SLOT: folder})


def only_group(lab: Lab) -> str:
    """The group that ``settings.group`` names, or the only one there is.

    Raises:
        InputError: there are several and none is named.

    Example:
        >>> only_group(Lab(Path("a"), {}, {"mine": Path("b")}))
        'mine'
    """
    named = lab.settings.get("group")
    if named is None and len(lab.groups) != 1:
        raise InputError(
            f"settings.group must name one of {', '.join(lab.groups)}, got none; write it into the study file"
        )
    return str(named or next(iter(lab.groups)))


def class_figures(result: Result, metric: str) -> NDArray[np.float64]:
    """``precision``, ``recall`` or ``f1`` of every class on the test part [K]; NaN without test images.

    Example:
        >>> row = {"support": 3, "recall": {"value": 0.5}}
        >>> class_figures({"test": {"classes": [row]}}, "recall").tolist()
        [0.5]
    """
    rows = result["test"]["classes"]
    return np.array([float(row[metric]["value"]) if row["support"] else np.nan for row in rows])


def tail_of(counts: Sequence[int], part: str = "tail") -> list[int]:
    """Classes of the ``head`` or ``tail`` third by training count; with two classes or three, one of each.

    Example:
        >>> tail_of([50, 20, 5]), tail_of([50, 20, 5], "head")
        ([2], [0])
    """
    return list(thirds(counts)[part])


def logits_of(network: Restored, images: Tensor) -> Tensor:
    """Logits [N, K] of a restored network, changed by its posthoc methods as in its own evaluation.

    Args:
        network: moved to the accelerator where there is one.
        images: uint8 [N, 3, H, W] of the network's size.

    Example: see ``tests/evidence/test_shift.py``.
    """
    device = device_of("auto")
    model = network.model.to(device)
    with torch.no_grad():
        parts = [model(network.normalize(part.to(device))).cpu() for part in torch.split(images, BATCH)]
    logits = torch.cat(parts)
    # A copy: a streaming method begins with what it was fitted to.
    return copy.deepcopy(network.posthoc).transform(logits) if len(network.posthoc.steps) else logits


def extra_variance(results: Sequence[Result]) -> float:
    """The Nadeau-Bengio term n_test / n_train where test parts were drawn anew for every unit, else 0.

    Example:
        >>> run = {"own_test": False, "test": {"images": 20}, "train_images": 80}
        >>> extra_variance([run | {"split_seed": 0}, run | {"split_seed": 1}])
        0.25
    """
    if len({run["split_seed"] for run in results}) < 2 or results[0]["own_test"]:
        return 0.0
    return float(np.mean([run["test"]["images"] / run["train_images"] for run in results]))


def over_units(results: Sequence[Result], values: Sequence[float], what: str) -> Figure:
    """The mean of one value a run, where the seeds of one split of several make one unit.

    Args:
        results: of the runs.
        values: one a run, finite.
        what: in words.

    Example:
        >>> runs = [{"seed": s, "split_seed": i, "own_test": True} for i in (0, 1) for s in (0, 1)]
        >>> over_units(runs, [0.1, 0.3, 0.4, 0.6], "gain").values
        (0.2, 0.5)
    """
    units = units_of([(run["seed"], run["split_seed"]) for run in results])
    return Figure.over(units.means(values), extra_variance=extra_variance(results), what=what)
