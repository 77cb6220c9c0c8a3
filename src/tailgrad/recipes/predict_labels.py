"""Labels of new images by a trained run whose images have several."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from rich.console import Console

from tailgrad.checks import InputError, in_range
from tailgrad.data.files import find_images
from tailgrad.evaluate.label_thresholds import probabilities
from tailgrad.recipes.predict import BATCH, logits_of
from tailgrad.recipes.prediction import JOINED, Prediction
from tailgrad.recipes.restore import Restored, restore
from tailgrad.recipes.run_folder import RunFolder
from tailgrad.recipes.waiting import counting
from tailgrad.untrusted import of_shape


def is_of_labels(run: str | Path) -> bool:
    """Whether a finished run was trained on images with several labels.

    Example:
        >>> is_of_labels("missing")
        False
    """
    folder = RunFolder(Path(run))
    return folder.finished and "thresholds" in folder.result()


def predict_labels(
    run: str | Path, images: Sequence[str | Path], *, console: Console | None = None
) -> list[Prediction]:
    """Say which labels images have: those whose probability reaches the label's fitted threshold.

    Args:
        run: folder of a finished run of several labels.
        images: files, or folders that are searched for images.
        console: where to show how far it is; None is silent.

    Raises:
        InputError: the folder is not such a run, or there is no image.

    Example: see ``predict``.
    """
    network, thresholds = restore(run), thresholds_of_run(RunFolder(Path(run)))
    return label_images(network, thresholds, images, console=console)


def label_images(
    network: Restored,
    thresholds: Sequence[float],
    images: Sequence[str | Path],
    *,
    console: Console | None = None,
) -> list[Prediction]:
    """As ``predict_labels``, by a network that is in memory.

    Args:
        network: with what its inputs and outputs mean.
        thresholds: of every label, in [0, 1].
        images: files, or folders that are searched for images.
        console: where to show how far it is; None is silent.

    Returns:
        A prediction an image: ``labels`` are those it has, ``name`` joins them by ``"; "``, ``probability``
        is that of the likeliest label, ``probabilities`` are those of every label and do not sum to 1.

    Raises:
        InputError: the thresholds are not as many as the labels, or there is no image.

    Example: see ``predict``.
    """
    if len(thresholds) != len(network.names):
        raise InputError(
            f"run must hold a threshold for each of {len(network.names)} labels, got {len(thresholds)}; "
            "repeat it"
        )
    files, errors = find_images(images), dict[Path, str]()
    parts = []
    with counting(console, "looking for labels") as progress:
        for start in range(0, len(files), BATCH):
            parts.append(logits_of(network, files[start : start + BATCH], errors))
            progress(min(start + BATCH, len(files)), len(files))
    rows, least = iter(probabilities(torch.cat(parts))), np.array(thresholds)
    return [
        Prediction(str(path), "", math.nan, (), errors[path])
        if path in errors
        else _prediction(str(path), network.names, next(rows), least)
        for path in files
    ]


def thresholds_of_run(folder: RunFolder) -> tuple[float, ...]:
    """The threshold of every label that a finished run fitted.

    Raises:
        InputError: the result holds something else.

    Example: see ``predict``.
    """
    with of_shape(folder.result_file):
        rows = folder.result()["thresholds"]
        return tuple(in_range("threshold", row["value"], 0, 1) for row in rows)


def _prediction(path: str, names: tuple[str, ...], row: np.ndarray, thresholds: np.ndarray) -> Prediction:
    found = tuple(name for name, has in zip(names, row >= thresholds, strict=True) if has)
    return Prediction(path, JOINED.join(found), float(row.max()), tuple(row.tolist()), labels=found)
