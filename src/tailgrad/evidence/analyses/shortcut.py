"""A planted shortcut: who relies on a square that gives the class away, rare classes or frequent ones?"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from tailgrad.data import Profile, counts_for
from tailgrad.evaluate import thirds
from tailgrad.evidence.analyses.finished_runs import logits_of, tail_of
from tailgrad.evidence.analyses.planted_patch import given_away, other_classes, planted
from tailgrad.evidence.figures import Figure
from tailgrad.evidence.lab import Analysis, Lab, Table
from tailgrad.evidence.splits_used import used
from tailgrad.recipes.compose import merge
from tailgrad.recipes.config import Config
from tailgrad.recipes.configure import configure
from tailgrad.recipes.prepare import prepare
from tailgrad.recipes.prepared import Prepared
from tailgrad.recipes.restore import restore
from tailgrad.recipes.run_config import run_config
from tailgrad.recipes.run_folder import RunFolder

Predict = Callable[[Tensor], NDArray[np.int64]]


class Condition(NamedTuple):
    """One way of training.

    Args:
        method: name.
        factor: imbalance factor.
        where: which classes are given away: ``all``, ``head`` or ``tail``; ``none`` as a control.
    """

    method: str
    factor: float
    where: str

    @property
    def label(self) -> str:
        """Short name, safe in file names."""
        return f"{self.method}.if{self.factor:g}.{self.where}"


def analyse(lab: Lab) -> Analysis:
    """Train with the square, test with it, without it and with another class's, class by class.

    Reliance of a class is its recall with its own square less its recall with another class's: 1 for a
    network that reads nothing but the square, 0 for one that does not see it.

    Example: see ``tailgrad study shortcut --size smoke``.
    """
    plan = lab.settings
    conditions = [Condition(*each) for each in product(plan["methods"], plan["imbalance"], plan["where"])]
    lab.expect(len(conditions) * plan["seeds"])
    measured = {
        condition: [_measured(lab, condition, seed) for seed in range(plan["seeds"])]
        for condition in conditions
    }
    figures = {
        f"{condition.label}.{name}": figure
        for condition, runs in measured.items()
        for name, figure in _figures(runs).items()
    }
    figures |= _by_imbalance(measured) | _by_method(measured, plan["methods"][0])
    return Analysis(figures, [_table(measured), _by_class(measured)], seeds=range(plan["seeds"]))


def _measured(lab: Lab, condition: Condition, seed: int) -> dict[str, Any]:
    def make() -> dict[str, Any]:
        config, ready = _prepared(lab, condition, seed)
        order = rarity(ready.classes.counts, lab.settings["imbalance"])
        used(ready.split, ready.source)
        marked = with_shortcut(ready, strengths(order, condition.where, lab.settings["strength"]), seed)
        folder = RunFolder(lab.folder / "runs" / f"{condition.label}.seed{seed}")
        run_config(config, folder, prepared=marked, resume=folder.path.exists(), talk=lab.say)
        target = ready.source.labels[ready.index("test")]
        found = reliance(_classifier(folder), _test_images(ready), target, ready.classes.num_classes, seed)
        return found | {"counts": order, "extra_variance": _extra_variance(ready)}

    return lab.cell(f"{condition.label}.seed{seed}", make)


def _prepared(lab: Lab, condition: Condition, seed: int) -> tuple[Config, Prepared]:
    plan = lab.settings
    above = {"seed": seed, "split_seed": seed, "data": _profile(condition.factor)}
    source = next(iter(lab.data.values()))
    overrides = merge(plan.get("set", {}), above)
    config, opened = configure(
        source, method=condition.method, regime=plan.get("regime"), overrides=overrides
    )
    return config, prepare(config, opened, lab.say)


def _profile(factor: float) -> dict[str, Any]:
    """Images live in memory, where the square is put into them."""
    return {"imb_factor": factor, "resident": "memory"}


def rarity(counts: Sequence[int], factors: Sequence[float]) -> list[int]:
    """Counts as the most imbalanced condition has them, so that head and tail are the same classes in all.

    Example:
        >>> rarity([90, 100, 100], [1, 100])
        [90, 10, 1]
    """
    return [int(n) for n in counts_for(Profile("exponential", max(factors)), counts)]


def strengths(counts: Sequence[int], where: str, strength: float) -> list[float]:
    """Share of images with the square, by class: ``strength`` for the classes meant, else 0.

    Example:
        >>> strengths([9, 5, 1], "tail", 0.9), strengths([9, 5, 1], "all", 0.9)
        ([0.0, 0.0, 0.9], [0.9, 0.9, 0.9])
    """
    meant: dict[str, Sequence[int]] = {"all": range(len(counts)), "none": (), **thirds(counts)}
    return [float(strength) if k in meant[where] else 0.0 for k in range(len(counts))]


def with_shortcut(ready: Prepared, strength: Sequence[float], seed: int) -> Prepared:
    """The data with the square in training and validation images; the test part stays as it is.

    Validation images are part of what a user has, so that they carry the shortcut too.

    Example: see ``tests/evidence/test_shortcut.py``.
    """
    assert ready.images is not None  # asked for by the configuration; this tells the type checker
    images = dict(ready.images)
    for place, part in enumerate(("train", "val")):
        target = ready.source.labels[ready.index(part)]
        images[part] = planted(images[part], given_away(target, strength, 2 * seed + place))
    return replace(ready, images=images)


def _test_images(ready: Prepared) -> Tensor:
    assert ready.images is not None
    images: Tensor = ready.images["test"]
    return images


def _extra_variance(ready: Prepared) -> float:
    return 0.0 if ready.own_test else len(ready.split.test) / len(ready.split.train)


def _classifier(folder: RunFolder) -> Predict:
    network = restore(folder.path)

    def predict(images: Tensor) -> NDArray[np.int64]:
        found: NDArray[np.int64] = logits_of(network, images).argmax(1).numpy()
        return found

    return predict


def reliance(
    predict: Predict, images: Tensor, target: NDArray[np.int64], num_classes: int, seed: int
) -> dict[str, list[float]]:
    """How a classifier takes test images with the right square, without one, and with a wrong one.

    Args:
        predict: uint8 images [N, 3, H, W] -> classes [N].
        images: without any square.
        target: classes [N], each with an image at least.
        num_classes: K.
        seed: of the wrong squares.

    Returns:
        By class [K]: recall ``with`` its square, ``without``, with ``another`` class's, and how often the
        other class is ``followed``.

    Example: see ``tests/evidence/test_shortcut.py``.
    """
    wrong = other_classes(target, num_classes, seed)
    found = {
        "with": predict(planted(images, target)) == target,
        "without": predict(images) == target,
    }
    seen = predict(planted(images, wrong))
    found |= {"another": seen == target, "followed": seen == wrong}
    return {name: _by(right, target, num_classes) for name, right in found.items()}


def _by(right: NDArray[np.bool_], target: NDArray[np.int64], num_classes: int) -> list[float]:
    return [float(right[target == k].mean()) for k in range(num_classes)]


def _mean(run: Mapping[str, Any], a: str, b: str | None, classes: Sequence[int]) -> float:
    values = np.array(run[a]) - (0.0 if b is None else np.array(run[b]))
    return float(values[list(classes)].mean())


def _relied(run: Mapping[str, Any], part: str) -> float:
    return _mean(run, "with", "another", tail_of(run["counts"], part))


def _figures(runs: Sequence[Mapping[str, Any]]) -> dict[str, Figure]:
    wider = float(np.mean([run["extra_variance"] for run in runs]))
    values = {
        "reliance_head": ([_relied(run, "head") for run in runs], "reliance of the head on the square"),
        "reliance_tail": ([_relied(run, "tail") for run in runs], "reliance of the tail on the square"),
        "tail_above_head": (
            [_relied(run, "tail") - _relied(run, "head") for run in runs],
            "reliance of the tail above that of the head",
        ),
        "tail_removed": (
            [_mean(run, "with", "without", tail_of(run["counts"])) for run in runs],
            "tail recall lost where the square is removed",
        ),
        "tail_followed": (
            [_mean(run, "followed", None, tail_of(run["counts"])) for run in runs],
            "share of tail images that follow another class's square",
        ),
    }
    return {name: Figure.over(each, extra_variance=wider, what=what) for name, (each, what) in values.items()}


def _by_imbalance(measured: Mapping[Condition, Sequence[Mapping[str, Any]]]) -> dict[str, Figure]:
    """What the most imbalance adds to the tail's reliance, by method and place, paired by seed."""
    factors = sorted({condition.factor for condition in measured})
    what = "reliance of the tail, under the most imbalance less of these classes under the least"
    return {
        f"{condition.method}.{condition.where}.by_imbalance": _paired(
            runs, measured[condition._replace(factor=factors[0])], what
        )
        for condition, runs in measured.items()
        if condition.factor == factors[-1] != factors[0]
    }


def _by_method(
    measured: Mapping[Condition, Sequence[Mapping[str, Any]]], reference: str
) -> dict[str, Figure]:
    """How much more the tail relies on the square than under the first method."""
    return {
        f"{condition.label}.tail_above_{reference}": _paired(
            runs,
            measured[condition._replace(method=reference)],
            f"reliance of the tail above that under {reference}",
        )
        for condition, runs in measured.items()
        if condition.method != reference
    }


def _paired(runs: Sequence[Mapping[str, Any]], others: Sequence[Mapping[str, Any]], what: str) -> Figure:
    values = [_relied(a, "tail") - _relied(b, "tail") for a, b in zip(runs, others, strict=True)]
    wider = float(np.mean([run["extra_variance"] for run in runs]))
    return Figure.over(values, extra_variance=wider, what=what)


def _table(measured: Mapping[Condition, Sequence[Mapping[str, Any]]]) -> Table:
    rows = []
    for condition, runs in measured.items():
        found = _figures(runs)
        shown = (str(found[name].mean) for name in ("reliance_head", "reliance_tail", "tail_removed"))
        clean = np.mean([_mean(run, "without", None, tail_of(run["counts"])) for run in runs])
        rows.append((condition.method, f"{condition.factor:g}", condition.where, *shown, f"{clean:.3f}"))
    header = ("method", "imbalance", "given away", "head", "tail", "tail, removed", "tail recall without")
    note = "Reliance: recall with the class's own square less recall with another class's. 95 % intervals."
    return Table("Reliance on the planted square", header, tuple(rows), note)


def _by_class(measured: Mapping[Condition, Sequence[Mapping[str, Any]]]) -> Table:
    rows = []
    for condition, runs in measured.items():
        relied = np.mean([np.array(run["with"]) - np.array(run["another"]) for run in runs], axis=0)
        rows.append((condition.label, *(f"{value:.2f}" for value in relied)))
    header = ("condition", *(f"class {k}" for k in range(len(rows[0]) - 1)))
    return Table("Reliance by class", header, tuple(rows), "Mean over seeds; classes in the source's order.")
