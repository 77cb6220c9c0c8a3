"""Features learnt at several imbalances, judged by one balanced linear probe and by neural collapse."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tailgrad.checks import InputError
from tailgrad.data import Source, load_images
from tailgrad.evidence.analyses.linear_probe import balanced_index, probe
from tailgrad.evidence.figures import Figure
from tailgrad.evidence.lab import Analysis, Lab, Table
from tailgrad.interference.collapse import Block, collapse
from tailgrad.recipes.assemble import device_of
from tailgrad.recipes.prepare import open_config
from tailgrad.recipes.restore import Restored, restore
from tailgrad.recipes.run_folder import RunFolder

BATCH = 256
Cells = dict[str, list[dict[str, Any]]]


def analyse(lab: Lab) -> Analysis:
    """Recall of the network's own classifier and of the probe, and signs of collapse, by group of runs.

    The probe learns from as many training images of every class as the rarest has in the whole source, before
    any thinning, the same for all groups; both are judged on the source's test set.

    Settings: ``balanced`` and ``imbalanced`` (names of groups), ``control`` (balanced, with as many images as
    the imbalanced one).
    """
    lab.expect(sum(len(_runs(lab, group)) for group in lab.groups))
    cells = {group: [_cell(lab, group, run) for run in _runs(lab, group)] for group in lab.groups}
    return Analysis(_figures(cells, lab.settings), [_table(cells)])


def _runs(lab: Lab, group: str) -> list[RunFolder]:
    """Runs of the group's first and only method."""
    return next(iter(lab.runs(group).values()))


def _cell(lab: Lab, group: str, run: RunFolder) -> dict[str, Any]:
    return lab.cell(f"{group}.{run.path.name}", lambda: _judge(run))


def _judge(run: RunFolder) -> dict[str, Any]:
    source = open_config(run.config())
    given = np.array(source.given)
    if not {"train", "test"} <= set(source.given):
        raise InputError(
            f"the source must bring its own training and test part, got {source.name!r} without; use "
            "digits-lt or CIFAR"
        )
    train, test = np.flatnonzero(given == "train"), np.flatnonzero(given == "test")
    train = train[balanced_index(source.labels[train], seed=0)]
    restored = restore(run.path)
    (learnt, _), (seen, logits) = (_features(restored, source, index) for index in (train, test))
    labels = source.labels[test]
    found = probe(learnt, source.labels[train], seen)
    means = np.stack([seen[labels == k].mean(0) for k in range(source.num_classes)])
    geometry = collapse(means, [Block(seen, labels, None)])
    return {
        "own": _mean_recall(logits.argmax(1), labels),
        "probe": _mean_recall(found, labels),
        "nc1": geometry.nc1,
        "equinorm": geometry.equinorm,
        "equiangular": geometry.equiangular,
        "probe_images": len(train),
    }


@torch.no_grad()
def _features(
    restored: Restored, source: Source, index: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Pooled features [N, D] and logits [N, K]."""
    device = device_of("auto")
    model = restored.model.to(device)
    found = []
    for first in range(0, len(index), BATCH):
        part = index[first : first + BATCH]
        images = load_images(source, part, restored.size, mode=restored.resize).to(device)
        found.append(model.outputs(restored.normalize(images)))
    features, logits = (
        torch.cat([getattr(output, name) for output in found]).double().cpu().numpy()
        for name in ("features", "logits")
    )
    return features, logits


def _mean_recall(predicted: NDArray[np.int64], labels: NDArray[np.int64]) -> float:
    return float(np.mean([(predicted[labels == k] == k).mean() for k in np.unique(labels)]))


def _figures(cells: Cells, settings: Mapping[str, Any]) -> dict[str, Figure]:
    balanced, imbalanced = str(settings["balanced"]), str(settings["imbalanced"])
    control = str(settings["control"])
    what = {"own": "mean recall of the network's classifier", "probe": "mean recall of the probe"}
    figures = {
        f"{key}.{group}": Figure.over([c[key] for c in found], what=words)
        for group, found in cells.items()
        for key, words in what.items()
    }
    own, probed = (_difference(cells, key, balanced, imbalanced) for key in ("own", "probe"))
    return figures | {
        "own_drop": Figure.over(own, what="mean recall that the classifier loses to imbalance"),
        "probe_drop": Figure.over(
            probed, what="mean recall that the probe loses to imbalance and fewer images"
        ),
        "classifier_not_features": Figure.over(
            [a - b for a, b in zip(own, probed, strict=True)], what="drop of the classifier minus the probe's"
        ),
        "probe_drop_at_equal_size": Figure.over(
            _difference(cells, "probe", control, imbalanced),
            what="mean recall that the probe loses to imbalance, at as many images",
        ),
    }


def _difference(cells: Cells, key: str, first: str, second: str) -> list[float]:
    return [a[key] - b[key] for a, b in zip(cells[first], cells[second], strict=True)]


def _table(cells: Cells) -> Table:
    keys = ("own", "probe", "nc1", "equinorm", "equiangular")
    rows = [(group, *(_mean(found, key) for key in keys)) for group, found in cells.items()]
    return Table(
        "Features learnt at several imbalances",
        ("group", "mean recall, own", "mean recall, probe", "NC1", "NC2 equinorm", "NC2 equiangular"),
        tuple(rows),
        "Means over seeds, on test data; NC figures are 0 at collapse.",
    )


def _mean(found: Sequence[Mapping[str, Any]], key: str) -> str:
    values = [cell[key] for cell in found if cell[key] is not None]
    return f"{np.mean(values):.3f}" if values else ""
