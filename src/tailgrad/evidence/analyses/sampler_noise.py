"""Directional noise of each class's gradient in batches of several samplers, at one and the same network."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from tailgrad.data import Profile
from tailgrad.evaluate.groups import thirds
from tailgrad.evidence.analyses.small_sets import SmallSet, small_set
from tailgrad.evidence.analyses.small_training import drawn, fit, mean_of, small_network
from tailgrad.evidence.figures import Figure
from tailgrad.evidence.lab import Analysis, Lab, Table
from tailgrad.interference import Extras, measure
from tailgrad.samplers import ClassBalancedSampler, InstanceSampler, SquareRootSampler
from tailgrad.samplers.epoch_sampler import EpochSampler

SAMPLERS: Mapping[str, type[EpochSampler]] = {
    "instance": InstanceSampler,
    "square_root": SquareRootSampler,
    "class_balanced": ClassBalancedSampler,
}
WHEN = ("start", "trained")
"""Before training, and after training on batches of the instance sampler."""
Cells = dict[tuple[str, str], list[dict[str, Any]]]


def analyse(lab: Lab) -> Analysis:
    """Noise of tail and head under each sampler, at the start and after training.

    Settings: ``imbalance``, ``rate``, ``steps`` (of training), ``batch``, ``batches`` (looked at), ``width``,
    ``side``, ``seeds``.
    """
    seeds = lab.seeds
    lab.expect(len(WHEN) * len(SAMPLERS) * len(seeds))
    cells = {
        (when, sampler): [_cell(lab, when, sampler, seed) for seed in seeds]
        for when in WHEN
        for sampler in SAMPLERS
    }
    return Analysis(_figures(cells), [_table(cells)], list(seeds))


def _cell(lab: Lab, when: str, sampler: str, seed: int) -> dict[str, Any]:
    return lab.cell(
        f"{when}.{sampler}.seed-{seed}", lambda: _look(lab.settings, lab.data, when, sampler, seed)
    )


def _look(
    settings: Mapping[str, Any], sources: Mapping[str, str], when: str, sampler: str, seed: int
) -> dict[str, Any]:
    profile = Profile("exponential", settings["imbalance"])
    data = small_set(sources["images"], seed, profile=profile, side=settings["side"])
    net = _network(settings, data, when, seed)
    # Another seed than training's: the network has not just stepped along the batches it is judged by.
    order = SAMPLERS[sampler](data.train.target, seed=seed + 1000)
    looked_at = [
        (b.inputs, b.target) for b in drawn(data.train, order, settings["batch"], settings["batches"])
    ]
    noise = measure(
        net,
        [(data.train.inputs, data.train.target)],
        "all",
        folds=0,
        class_names=[str(k) for k in range(data.num_classes)],
        seed=seed,
        extras=Extras(null_examples=16, training_batches=looked_at),
    ).noise
    assert noise is not None  # training batches were given
    groups = thirds(data.counts)
    return {
        "noise": {name: _seen_mean(noise.noise, groups[name]) for name in ("head", "tail")},
        "absent": {name: mean_of(noise.absent.tolist(), groups[name]) for name in ("head", "tail")},
    }


def _network(settings: Mapping[str, Any], data: SmallSet, when: str, seed: int) -> nn.Module:
    net = small_network(data.train.inputs.shape[1], data.num_classes, width=settings["width"], seed=seed)
    if when == "trained":
        order = InstanceSampler(data.train.target, seed=seed)
        optimizer = torch.optim.SGD(net.parameters(), lr=settings["rate"])
        fit(net, drawn(data.train, order, settings["batch"], settings["steps"]), optimizer)
    return net


def _seen_mean(values: Sequence[float] | np.ndarray[Any, Any], classes: Sequence[int]) -> float:
    """Mean over the classes that were in batches of two folds at least."""
    return float(np.nanmean([values[k] for k in classes]))


def _figures(cells: Cells) -> dict[str, Figure]:
    noise = {
        (*key, group): np.array([cell["noise"][group] for cell in found])
        for key, found in cells.items()
        for group in ("head", "tail")
    }
    figures = {
        ".".join(("noise", *key)): Figure.over(values.tolist(), what="1 - mean cosine with its own direction")
        for key, values in noise.items()
    }
    for when in WHEN:
        usual = noise[when, "instance", "tail"]
        more = (usual - noise[when, "instance", "head"]).tolist()
        figures[f"tail_minus_head.{when}"] = Figure.over(more, what="noise of the tail minus the head's")
        for sampler in ("square_root", "class_balanced"):
            less = (usual - noise[when, sampler, "tail"]).tolist()
            figures[f"repair.{when}.{sampler}"] = Figure.over(
                less, what="noise of the tail that it takes away"
            )
    return figures


def _table(cells: Cells) -> Table:
    rows = [
        (
            when,
            sampler,
            *(f"{np.mean([c['noise'][group] for c in found]):.3f}" for group in ("head", "tail")),
            *(f"{np.mean([c['absent'][group] for c in found]):.3f}" for group in ("head", "tail")),
        )
        for (when, sampler), found in cells.items()
    ]
    return Table(
        "Directional noise of class gradients in training batches",
        ("network", "sampler", "noise, head", "noise, tail", "batches without, head", "without, tail"),
        tuple(rows),
        "0: every batch points one way; 1: as good as noise. Batches are held against those of other folds.",
    )
