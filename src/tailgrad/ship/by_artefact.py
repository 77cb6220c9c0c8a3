"""Predictions of image files by an artefact, without PyTorch."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tailgrad.data.decode import UnreadableImage, decode
from tailgrad.data.files import find_images
from tailgrad.data.resize import resize
from tailgrad.ship.artefact import Artefact
from tailgrad.ship.decision import Prediction, unreadable
from tailgrad.ship.judge import Judge, judge_of
from tailgrad.ship.wish import Wish, with_labels

BATCH = 64


def by_artefact(artefact: Artefact, images: Sequence[str | Path], wish: Wish) -> list[Prediction]:
    """Classify image files; an unreadable one is reported in its place.

    Args:
        artefact: to run.
        images: files, or folders that are searched for images.
        wish: what is asked.

    Raises:
        InputError: there is no image, or the wish does not fit.

    Example: see ``predict``.
    """
    judge = judge_of(artefact, wish)
    files = find_images(images)
    batches = (files[start : start + BATCH] for start in range(0, len(files), BATCH))
    found = [one for batch in batches for one in _of_batch(artefact, batch, judge)]
    return with_labels(found, artefact.names, wish) if artefact.description.several_labels else found


def _of_batch(artefact: Artefact, files: Sequence[Path], judge: Judge) -> list[Prediction]:
    form = artefact.description.preprocessing
    assert form is not None  # this tells the type checker
    pixels: list[NDArray[np.uint8]] = []
    errors: dict[Path, str] = {}
    for path in files:
        try:
            pixels.append(resize(decode(path.read_bytes(), str(path), form.size), form.size, form.resize))
        except (UnreadableImage, OSError) as error:
            errors[path] = error.reason if isinstance(error, UnreadableImage) else str(error)
    read = [str(path) for path in files if path not in errors]
    left = iter(judge(read, artefact.logits(_batch(pixels))) if pixels else ())
    return [unreadable(str(path), errors[path]) if path in errors else next(left) for path in files]


def _batch(pixels: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(np.stack(pixels).transpose(0, 3, 1, 2))
