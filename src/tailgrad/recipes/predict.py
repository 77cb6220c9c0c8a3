"""Classes of new images by a trained run."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from torch import Tensor

from tailgrad.checks import InputError, in_range
from tailgrad.data import UnreadableImage
from tailgrad.data.decode import decode
from tailgrad.data.files import EXTENSIONS
from tailgrad.data.resident import resize
from tailgrad.evaluate import apply_threshold
from tailgrad.recipes.restore import Restored, restore
from tailgrad.recipes.run_folder import RunFolder
from tailgrad.recipes.waiting import counting
from tailgrad.untrusted import of_shape

BATCH = 64


@dataclass(frozen=True)
class Prediction:
    """The class of one image.

    Args:
        file: path as given.
        name: predicted class.
        probability: its softmax probability.
        probabilities: of every class, in class order.
        error: why the image could not be read; then the other fields are empty.

    Example:
        >>> Prediction("a.png", "cat", 0.9, (0.9, 0.1)).name
        'cat'
    """

    file: str
    name: str
    probability: float
    probabilities: tuple[float, ...]
    error: str = ""


def predict(
    run: str | Path, images: Sequence[str | Path], *, console: Console | None = None
) -> list[Prediction]:
    """Classify image files; an unreadable one is reported in its place, the others are classified.

    Where the run has a class in focus, its tuned threshold decides.

    Args:
        run: folder of a finished run.
        images: files, or folders that are searched for images.
        console: where to show how far it is; None is silent.

    Raises:
        InputError: the folder is not a run, or there is no image.

    Example:
        >>> predict("missing", ["a.png"])
        Traceback (most recent call last):
        ...
        tailgrad.checks.InputError: run must be the folder of a run, got missing without config.yaml; ...
    """
    network = restore(run)
    focus = _focus(RunFolder(Path(run)), network.names)
    files = _files(images)
    errors: dict[Path, str] = {}
    batches = [files[start : start + BATCH] for start in range(0, len(files), BATCH)]
    logits = []
    with counting(console, "classifying") as progress:
        for done, batch in enumerate(batches, start=1):
            logits.append(_logits(network, batch, errors))
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


def _focus(folder: RunFolder, names: Sequence[str]) -> tuple[int, float] | None:
    """Class in focus and its threshold."""
    with of_shape(folder.result_file):
        focus = folder.result()["focus"]
        return focus and (names.index(focus["class"]), in_range("threshold", focus["threshold"], -math.inf))


def _files(images: Sequence[str | Path]) -> list[Path]:
    files: list[Path] = []
    for path in map(Path, images):
        if path.is_dir():
            files += sorted(p for p in path.rglob("*") if p.suffix.lower() in EXTENSIONS and p.is_file())
        elif path.is_file():
            files.append(path)
        else:
            raise InputError(
                f"images must be files or folders, got {path}, which does not exist; check the path"
            )
    if not files:
        raise InputError(f"images must hold at least one image, got {[str(p) for p in images]}; give files")
    return files


def _logits(network: Restored, files: Sequence[Path], errors: dict[Path, str]) -> Tensor:
    """Logits of those files that can be read; why the others cannot goes into ``errors``."""
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
