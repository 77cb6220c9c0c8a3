"""Classes of new images by a trained run."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from torch import Tensor

from tailgrad.checks import InputError
from tailgrad.data import UnreadableImage
from tailgrad.data.decode import decode
from tailgrad.data.files import find_images
from tailgrad.data.resize import resize
from tailgrad.data.table_encoding import is_of_rows
from tailgrad.evaluate import apply_threshold
from tailgrad.recipes.predict_rows import predict_rows
from tailgrad.recipes.prediction import Prediction, focus_of_run
from tailgrad.recipes.restore import Restored, restore
from tailgrad.recipes.run_folder import RunFolder
from tailgrad.recipes.waiting import counting

BATCH = 64


def predict(
    run: str | Path, images: Sequence[str | Path], *, console: Console | None = None
) -> list[Prediction]:
    """Classify image files; an unreadable one is reported in its place, the others are classified.

    By a run on a table it classifies the rows of CSV or parquet files (``predict_rows``), by one whose images
    have several labels it says which an image has (``predict_labels``).

    Where the run has a class in focus, its tuned threshold decides.

    Args:
        run: folder of a finished run.
        images: files, or folders that are searched for images; tables by a run on a table.
        console: where to show how far it is; None is silent.

    Raises:
        InputError: the folder is not a run, or there is no image.

    Example:
        >>> predict("missing", ["a.png"])
        Traceback (most recent call last):
        ...
        tailgrad.checks.InputError: run must be the folder of a run, got missing without config.yaml; ...
    """
    if is_of_rows(run):
        return predict_rows(run, images, console=console)
    from tailgrad.recipes.predict_labels import is_of_labels, predict_labels

    if is_of_labels(run):
        return predict_labels(run, images, console=console)
    network = restore(run)
    focus = focus_of_run(RunFolder(Path(run)), network.names)
    return classify(network, images, focus, console=console)


def classify(
    network: Restored,
    images: Sequence[str | Path],
    focus: tuple[int, float] | None = None,
    *,
    console: Console | None = None,
) -> list[Prediction]:
    """As ``predict``, by a network that is in memory.

    Args:
        network: with what its inputs and outputs mean.
        images: files, or folders that are searched for images.
        focus: index and threshold of a class in focus.
        console: where to show how far it is; None is silent.

    Raises:
        InputError: there is no image.

    Example: see ``predict``.
    """
    files = find_images(images)
    errors: dict[Path, str] = {}
    batches = [files[start : start + BATCH] for start in range(0, len(files), BATCH)]
    logits = []
    with counting(console, "classifying") as progress:
        for done, batch in enumerate(batches, start=1):
            logits.append(logits_of(network, batch, errors))
            progress(min(done * BATCH, len(files)), len(files))
    together = torch.cat(logits)
    if network.posthoc.transductive and len(together) == 1:
        raise InputError(
            f"images must be several where a posthoc method looks at all of them together, got {files[0]} "
            "alone; give the whole set, or train with mode=inductive"
        )
    rows = iter(_probabilities(network, together))
    return [
        Prediction(str(path), "", float("nan"), (), errors[path])
        if path in errors
        else _prediction(network, focus, str(path), next(rows))
        for path in files
    ]


def logits_of(network: Restored, files: Sequence[Path], errors: dict[Path, str]) -> Tensor:
    """Logits of those files that can be read; why the others cannot goes into ``errors``.

    Args:
        network: with what its inputs and outputs mean.
        files: images.
        errors: is filled.

    Example: see ``predict``.
    """
    pixels = []
    for path in files:
        try:
            found = decode(path.read_bytes(), str(path), network.size)
            pixels.append(resize(found, network.size, network.resize))
        except (UnreadableImage, OSError) as error:
            errors[path] = error.reason if isinstance(error, UnreadableImage) else str(error)
    if not pixels:
        return torch.zeros(0, len(network.names))
    images = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2)
    with torch.no_grad():
        logits: Tensor = network.model(network.normalize(images))
    return logits


def _probabilities(network: Restored, logits: Tensor) -> NDArray[np.float64]:
    """Of all images at once: a transductive method looks at all of them."""
    if len(logits) and len(network.posthoc.steps):
        logits = network.posthoc.transform(logits)
    found: NDArray[np.float64] = torch.softmax(logits.double(), 1).numpy()
    return found


def _prediction(
    network: Restored, focus: tuple[int, float] | None, path: str, row: NDArray[np.float64]
) -> Prediction:
    k = int(row.argmax())
    if focus is not None:
        k = int(apply_threshold(row[None], *focus)[0])
    return Prediction(path, network.names[k], float(row[k]), tuple(row.tolist()))
