"""The bootstrap over test images crossed with seeds, from the stored predictions of a study."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tailgrad.checks import InputError
from tailgrad.evaluate import crossed_bootstrap
from tailgrad.evaluate.crossed import FEWEST_SEEDS
from tailgrad.recipes.run_folder import RunFolder

METRICS = ("macro_f1", "accuracy")
Indices = NDArray[np.int64]


def with_crossed(
    paired: Sequence[Mapping[str, Any]], folders: Mapping[str, Sequence[RunFolder]]
) -> list[dict[str, Any]]:
    """The paired rows, those of macro-F1 and accuracy with their ``crossed`` interval.

    Args:
        paired: rows of a comparison, one run a seed, all tested on the same images.
        folders: run folders of each method in seed order, the method compared with first.

    Returns:
        The rows as they are below 10 seeds.

    Raises:
        InputError: runs that were not tested on the same images.

    Example: see ``recipes.compare``.
    """
    rows = [dict(row) for row in paired]
    if min(map(len, folders.values())) < FEWEST_SEEDS:
        return rows
    truth, predicted = _predictions(folders)
    num_classes = len(next(iter(folders.values()))[0].result()["classes"]["names"])
    for row in rows:
        if row["metric"] in METRICS:
            both = predicted[row["method"]], predicted[row["against"]]
            found = crossed_bootstrap(*both, truth, num_classes=num_classes, metric=row["metric"])
            row["crossed"] = found.to_dict()
    return rows


def _predictions(folders: Mapping[str, Sequence[RunFolder]]) -> tuple[Indices, dict[str, Indices]]:
    """True classes [N], and the predicted ones [S, N] of each method."""
    images: tuple[list[str], Indices] | None = None
    predicted: dict[str, list[Indices]] = {}
    for method, runs in folders.items():
        for folder in runs:
            names, truth, given = _test_part(folder)
            images = images or (names, truth)
            if names != images[0] or not np.array_equal(truth, images[1]):
                raise InputError(
                    f"runs must be tested on the same images, got others in {folder.path}; begin anew"
                )
            predicted.setdefault(method, []).append(given)
    if images is None:
        raise InputError("folders must hold a run, got none; run the study first")
    return images[1], {method: np.stack(runs) for method, runs in predicted.items()}


def _test_part(folder: RunFolder) -> tuple[list[str], Indices, Indices]:
    columns = ["part", "name", "target", "predicted"]
    table = pq.read_table(folder.path / "predictions.parquet", columns=columns)
    kept = table.filter(pc.equal(table["part"], "test")).sort_by("name")
    return (kept["name"].to_pylist(), kept["target"].to_numpy(), kept["predicted"].to_numpy())
