"""Adam against SGD as labels go from uniform to Zipf's law, each at its own rate."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Optimizer

from tailgrad.evidence.analyses.barcoded_classes import barcoded, zipf_counts
from tailgrad.evidence.analyses.choice_by_validation import Choice, choice_table, choose
from tailgrad.evidence.analyses.small_sets import Part, small_set
from tailgrad.evidence.analyses.small_training import WORST, fit, plain_losses, small_network
from tailgrad.evidence.figures import Figure
from tailgrad.evidence.lab import Analysis, Lab, Table

OPTIMISERS = ("sgd", "adam")
CHOSEN_BY = ("val", "train")
"""By validation loss, as everywhere here, and by training loss, as those who made the claim did."""
Cells = Mapping[float, Sequence[Mapping[str, Any]]]
Found = dict[tuple[float, str, str], Sequence[Mapping[str, Any]]]


def analyse(lab: Lab) -> Analysis:
    """Final training loss of both optimisers by Zipf exponent and by how common a class is.

    Settings: ``exponents``, ``rates`` (of each optimiser), ``examples``, ``bits``, ``steps`` (on all
    examples), ``width``, ``side``, ``seeds``.
    """
    seeds = lab.seeds
    rates = sum(len(lab.settings["rates"][name]) for name in OPTIMISERS)
    lab.expect(len(lab.settings["exponents"]) * rates * len(seeds))
    found: Found = {}
    choices = []
    for exponent in lab.settings["exponents"]:
        for name in OPTIMISERS:
            cells = {
                rate: [_cell(lab, exponent, name, rate, seed) for seed in seeds]
                for rate in lab.settings["rates"][name]
            }
            for by in CHOSEN_BY:
                choice = _chosen(f"{name}, exponent {exponent:g}, by {by}", cells, by)
                choices.append(choice)
                found[exponent, name, by] = cells[choice.value]
    figures = _figures(found, lab.settings["exponents"])
    figures["at_edge"] = Figure.over([float(c.at_edge) for c in choices], what="share of rates at the edge")
    return Analysis(figures, [_table(found), choice_table(choices, "rate, by loss")], list(seeds))


def _cell(lab: Lab, exponent: float, name: str, rate: float, seed: int) -> dict[str, Any]:
    return lab.cell(
        f"zipf-{exponent:g}.{name}.rate-{rate:g}.seed-{seed}",
        lambda: _run(lab.settings, lab.data["images"], exponent, name, rate, seed),
    )


def _chosen(method: str, cells: Cells, by: str) -> Choice:
    return choose(
        method, {rate: [c[by]["all"] for c in found] for rate, found in cells.items()}, highest=False
    )


def _run(
    settings: Mapping[str, Any], source: str, exponent: float, name: str, rate: float, seed: int
) -> dict[str, Any]:
    train, val, counts = _examples(settings, source, exponent, seed)
    net = small_network(train.inputs.shape[1], len(counts), width=settings["width"], seed=seed)
    fit(net, iter([train] * settings["steps"]), _optimizer(name, net, rate))
    return {"train": _losses(net, train, counts), "val": _losses(net, val, counts)}


def _examples(
    settings: Mapping[str, Any], source: str, exponent: float, seed: int
) -> tuple[Part, Part, NDArray[np.int64]]:
    """Training and validation examples, and the training count of every class by its number."""
    data, bits = small_set(source, seed, side=settings["side"]), settings["bits"]
    num_classes = data.num_classes * 2**bits
    sizes = zipf_counts(num_classes, settings["examples"], exponent)
    order = np.random.default_rng(seed).permutation(num_classes)
    parts = [
        barcoded(part, sizes, data.num_classes, bits, seed, order=order) for part in (data.train, data.val)
    ]
    counts = np.empty_like(sizes)
    counts[order] = sizes
    return parts[0], parts[1], counts


def _optimizer(name: str, net: nn.Module, rate: float) -> Optimizer:
    if name == "adam":
        return torch.optim.Adam(net.parameters(), lr=rate)
    return torch.optim.SGD(net.parameters(), lr=rate, momentum=0.9)


@torch.no_grad()
def _losses(net: nn.Module, part: Part, counts: NDArray[np.int64]) -> dict[str, float]:
    """Mean loss of all examples, and of the third of them in the commonest and in the rarest classes."""
    losses = torch.nan_to_num(plain_losses(net(part.inputs), part.target), WORST, WORST).clamp(max=WORST)
    by_size = torch.as_tensor(counts)[part.target].argsort(descending=True, stable=True)
    third = len(losses) // 3
    return {
        "all": _mean(losses),
        "common": _mean(losses[by_size[:third]]),
        "rare": _mean(losses[by_size[-third:]]),
    }


def _mean(losses: Tensor) -> float:
    return float(losses.double().mean())


def _figures(found: Found, exponents: Sequence[float]) -> dict[str, Figure]:
    figures: dict[str, Figure] = {}
    for by in CHOSEN_BY:
        after = "" if by == "val" else ".chosen_on_train"
        gaps = {exponent: _gaps(found, exponent, by) for exponent in exponents}
        for exponent, gap in gaps.items():
            for group, values in gap.items():
                what = f"training loss of {group} examples: SGD minus Adam, nats"
                figures[f"gap.{group}.zipf-{exponent:g}{after}"] = Figure.over(values.tolist(), what=what)
        heavy, light = gaps[max(exponents)], gaps[min(exponents)]
        more = (heavy["all"] - light["all"]).tolist()
        figures[f"more_by_zipf{after}"] = Figure.over(more, what="gap under Zipf minus gap under uniform")
        where = (heavy["rare"] - heavy["common"]).tolist()
        figures[f"rare_minus_common{after}"] = Figure.over(where, what="gap of rare minus of common, Zipf")
    return figures


def _gaps(found: Found, exponent: float, by: str) -> dict[str, NDArray[np.float64]]:
    sgd, adam = (found[exponent, name, by] for name in OPTIMISERS)
    return {
        group: np.array([s["train"][group] - a["train"][group] for s, a in zip(sgd, adam, strict=True)])
        for group in ("all", "common", "rare")
    }


def _table(found: Found) -> Table:
    rows = [
        (
            f"{exponent:g}",
            name,
            "validation" if by == "val" else "training",
            *(f"{np.mean([c['train'][group] for c in cells]):.3f}" for group in ("all", "common", "rare")),
            f"{np.mean([c['val']['all'] for c in cells]):.3f}",
        )
        for (exponent, name, by), cells in found.items()
    ]
    return Table(
        "Adam and SGD with momentum from uniform to Zipf labels",
        (
            "exponent",
            "optimiser",
            "rate by",
            "training loss",
            "common third",
            "rare third",
            "validation loss",
        ),
        tuple(rows),
        "Means over seeds, after as many full-batch steps; thirds of the examples by size of their class.",
    )
