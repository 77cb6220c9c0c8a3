"""Steps along normalised class gradients, with whole and with small batches: where do they spare the tail?"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tailgrad.data import Profile
from tailgrad.evaluate.groups import thirds
from tailgrad.evidence.analyses.choice_by_validation import Choice, choice_table, choose
from tailgrad.evidence.analyses.class_descent import Direction, descend, normalised, plain
from tailgrad.evidence.analyses.small_sets import Part, small_set
from tailgrad.evidence.analyses.small_training import class_recalls, drawn, mean_of, small_network
from tailgrad.evidence.figures import Figure
from tailgrad.evidence.lab import Analysis, Lab, Table
from tailgrad.samplers import ClassBalancedSampler, InstanceSampler
from tailgrad.samplers.epoch_sampler import EpochSampler

METHODS: Mapping[str, tuple[Direction, type[EpochSampler] | None]] = {
    "gd": (plain, None),
    "pcngd": (normalised, None),
    "sgd": (plain, InstanceSampler),
    "pcnsgd": (normalised, InstanceSampler),
    "pcnsgd_oversampled": (normalised, ClassBalancedSampler),
}
"""Direction of the steps, and what fills small batches; None takes whole ones."""

Values = NDArray[np.float64]


def analyse(lab: Lab) -> Analysis:
    """Rise of the tail's training loss under each method, at its rate chosen on validation data.

    Settings: ``imbalance``, ``rates``, ``steps``, ``batch``, ``width``, ``side``, ``seeds``.
    """
    seeds, rates = lab.seeds, lab.settings["rates"]
    lab.expect(len(METHODS) * len(rates) * len(seeds))
    found: dict[str, list[dict[str, Any]]] = {}
    choices = []
    for method in METHODS:
        cells = {rate: [_cell(lab, method, rate, seed) for seed in seeds] for rate in rates}
        choice = choose(method, {rate: [c["val_recall"] for c in cells[rate]] for rate in rates})
        choices.append(choice)
        found[method] = cells[choice.value]
    tables = [_table(found, choices), choice_table(choices, "rate, by mean recall of classes")]
    return Analysis(_figures(found, choices), tables, list(seeds))


def _cell(lab: Lab, method: str, rate: float, seed: int) -> dict[str, Any]:
    return lab.cell(f"{method}.rate-{rate:g}.seed-{seed}", lambda: _run(lab, method, rate, seed))


def _run(lab: Lab, method: str, rate: float, seed: int) -> dict[str, Any]:
    settings = lab.settings
    profile = Profile("exponential", settings["imbalance"])
    data = small_set(lab.data["images"], seed, profile=profile, side=settings["side"])
    net = small_network(data.train.inputs.shape[1], data.num_classes, width=settings["width"], seed=seed)
    batches = _batches(method, data.train, settings, seed)
    direction = METHODS[method][0]
    path = descend(net, data.train, batches, direction, rate=rate, num_classes=data.num_classes)
    tail = thirds(data.counts)["tail"]
    return {
        "rise": path.rise(tail),
        "tail_loss": mean_of(path.losses[-1], tail),
        "head_loss": mean_of(path.losses[-1], thirds(data.counts)["head"]),
        "val_recall": float(class_recalls(net, data.val, data.num_classes).mean()),
        "test_tail_recall": mean_of(class_recalls(net, data.test, data.num_classes), tail),
        "extra_variance": data.extra_variance,
    }


def _batches(method: str, train: Part, settings: Mapping[str, Any], seed: int) -> Iterator[Part]:
    sampler = METHODS[method][1]
    if sampler is None:
        return iter([train] * settings["steps"])
    return drawn(train, sampler(train.target, seed=seed), settings["batch"], settings["steps"])


def _figures(found: Mapping[str, list[dict[str, Any]]], choices: list[Choice]) -> dict[str, Figure]:
    rise = {method: np.array([c["rise"] for c in cells]) for method, cells in found.items()}
    whole, small = (repaired(rise[a], rise[b]) for a, b in (("gd", "pcngd"), ("sgd", "pcnsgd")))
    figures = {
        f"rise.{method}": Figure.over(values.tolist(), what="rise of the tail's training loss, nats")
        for method, values in rise.items()
    }
    return figures | {
        "repair.gd": Figure.over(whole.tolist(), what="share of GD's rise that PCNGD takes away"),
        "repair.sgd": Figure.over(small.tolist(), what="share of SGD's rise that PCNSGD takes away"),
        "repair.gd_minus_sgd": Figure.over((whole - small).tolist(), what="difference of the two shares"),
        "at_edge": Figure.over([float(c.at_edge) for c in choices], what="share of rates at the edge"),
    }


def repaired(before: Values, after: Values) -> Values:
    """Share of a rise that is gone, at most 1; a rise below 0.1 nats counts as 0.1.

    Rises in nats grow with the rate, which is each method's own, so that only shares can be compared.

    Example:
        >>> repaired(np.array([2.0, 2.0]), np.array([0.5, -1.0])).tolist()
        [0.75, 1.0]
    """
    return 1 - np.maximum(after, 0) / np.maximum(before, 0.1)


def _table(found: Mapping[str, list[dict[str, Any]]], choices: list[Choice]) -> Table:
    keys = ("rise", "tail_loss", "head_loss", "test_tail_recall")
    rows = [
        (c.method, f"{c.value:g}", *(f"{np.mean([x[key] for x in found[c.method]]):.3f}" for key in keys))
        for c in choices
    ]
    header = ("method", "rate", "rise of the tail", "tail loss", "head loss", "tail recall on test")
    note = "Means over seeds; losses are of training data, tail and head are thirds of the classes."
    return Table("Normalised class gradients, whole and small batches", header, tuple(rows), note)
