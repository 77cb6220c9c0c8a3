"""Full-batch gradient descent from imbalance 1 to 1000: does the rarest class's loss rise first?

Full gradients know of imbalance only through class shares, so every imbalance is run on the same examples of
each class: nothing else differs. Which class is rare is drawn by seed.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from tailgrad.data.profiles import shares
from tailgrad.evidence.analyses.class_descent import descend, plain
from tailgrad.evidence.analyses.small_sets import small_set
from tailgrad.evidence.analyses.small_training import small_network
from tailgrad.evidence.figures import Figure
from tailgrad.evidence.lab import Analysis, Lab, Table

Cells = dict[tuple[str, float], list[dict[str, Any]]]


def analyse(lab: Lab) -> Analysis:
    """Rise of the rarest class's loss, and alignment of the steps with it, by task and imbalance.

    Settings: ``tasks`` (name -> classes, null for all), ``imbalance``, ``steps``, ``rate``, ``width``,
    ``side``, ``seeds``.
    """
    settings, seeds = lab.settings, lab.seeds
    lab.expect(len(settings["tasks"]) * len(settings["imbalance"]) * len(seeds))
    cells = {
        (task, factor): [_cell(lab, task, classes, factor, seed) for seed in seeds]
        for task, classes in settings["tasks"].items()
        for factor in settings["imbalance"]
    }
    figures: dict[str, Figure] = {}
    for (task, factor), found in cells.items():
        figures |= _figures(f"{task}.{factor:g}", found)
    for task in settings["tasks"]:
        figures[f"growth.{task}"] = _growth(cells, task, settings["imbalance"])
    return Analysis(figures, [_table(cells)], list(seeds))


def _cell(lab: Lab, task: str, classes: Sequence[int] | None, factor: float, seed: int) -> dict[str, Any]:
    return lab.cell(f"{task}.imbalance-{factor:g}.seed-{seed}", lambda: _run(lab, classes, factor, seed))


def _run(lab: Lab, classes: Sequence[int] | None, factor: float, seed: int) -> dict[str, Any]:
    settings = lab.settings
    known = range(small_set(lab.data["images"], seed, side=settings["side"]).num_classes)
    order = np.random.default_rng(seed).permutation(list(known if classes is None else classes)).tolist()
    data = small_set(lab.data["images"], seed, classes=order, side=settings["side"])
    share = torch.from_numpy(shares("exponential", factor, data.num_classes))
    net = small_network(data.train.inputs.shape[1], data.num_classes, width=settings["width"], seed=seed)
    found = descend(
        net,
        data.train,
        [data.train] * settings["steps"],
        plain,
        rate=settings["rate"],
        num_classes=data.num_classes,
        shares=share / share.sum(),
    )
    rarest = data.num_classes - 1
    measured = found.losses[1][rarest] - found.losses[0][rarest]
    return {
        "order": order,
        "rise": found.rise((rarest,)),
        "first_alignment": found.alignment[0][rarest],
        "uphill": found.uphill(rarest),
        "first_order": measured / found.predicted[rarest],
        "commonest_end": found.losses[-1][0] - found.losses[0][0],
        "rarest_end": found.losses[-1][rarest] - found.losses[0][rarest],
        "rising_classes": sum(found.rise((k,)) > 0 for k in range(data.num_classes)),
    }


def _figures(name: str, found: Sequence[dict[str, Any]]) -> dict[str, Figure]:
    words = {
        "rise": "rise of the rarest class's training loss above its start, nats",
        "first_alignment": "cosine of the first step with the rarest class's gradient",
        "uphill": "share of steps that point against the rarest class's gradient",
        "first_order": "measured over predicted change of the rarest class's loss, first step",
    }
    return {f"{key}.{name}": Figure.over([c[key] for c in found], what=what) for key, what in words.items()}


def _growth(cells: Cells, task: str, factors: Sequence[float]) -> Figure:
    """From the smallest to the largest imbalance, seed by seed."""
    low, high = cells[task, min(factors)], cells[task, max(factors)]
    rises = [b["rise"] - a["rise"] for a, b in zip(low, high, strict=True)]
    return Figure.over(rises, what="rise at the largest imbalance minus that at the smallest, nats")


def _table(cells: Cells) -> Table:
    keys = ("rise", "first_alignment", "uphill", "rising_classes", "commonest_end", "rarest_end")
    rows = [
        (task, f"{factor:g}", *(f"{np.mean([c[key] for c in found]):.3f}" for key in keys))
        for (task, factor), found in cells.items()
    ]
    return Table(
        "Full-batch gradient descent: what happens to the rarest class",
        (
            "task",
            "imbalance",
            "rise (nats)",
            "first alignment",
            "steps uphill",
            "classes that rise",
            "change, commonest",
            "change, rarest",
        ),
        tuple(rows),
        "Means over seeds, of training losses.",
    )
