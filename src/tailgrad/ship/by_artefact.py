"""Predictions of an artefact, without PyTorch."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tailgrad.data.decode import UnreadableImage, decode
from tailgrad.data.files import find_images
from tailgrad.data.resize import resize
from tailgrad.ship.artefact import Artefact
from tailgrad.ship.decision import Floats, Prediction, Rule, focused, labelled, softmax, unreadable
from tailgrad.ship.wish import Classes, Wish, check_labels_wish, with_labels

BATCH = 64
Judge = Callable[[Sequence[str], Floats], list[Prediction]]


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
    about, several = artefact.description, artefact.description.thresholds
    if several is not None:
        check_labels_wish(wish)
        judge: Judge = partial(_labels, artefact, several)
    else:
        target = Classes(about.names, about.counts, target=about.target_prior).asked(wish.target)
        least = about.abstain if wish.abstain is None else wish.abstain
        judge = partial(_classes, artefact, Rule(about.names, wish.top_k, least or 0.0), target)
    files = find_images(images)
    batches = (files[start : start + BATCH] for start in range(0, len(files), BATCH))
    found = [one for batch in batches for one in _of_batch(artefact, batch, judge)]
    return found if several is None else with_labels(found, about.names, wish)


def _of_batch(artefact: Artefact, files: Sequence[Path], judge: Judge) -> list[Prediction]:
    form = artefact.description.preprocessing
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


def _labels(
    artefact: Artefact, thresholds: Sequence[float], files: Sequence[str], logits: Floats
) -> list[Prediction]:
    rows = artefact.probabilities(logits)
    return [labelled(file, row, artefact.names, thresholds) for file, row in zip(files, rows, strict=True)]


def _classes(
    artefact: Artefact, rule: Rule, target: Sequence[float] | None, files: Sequence[str], logits: Floats
) -> list[Prediction]:
    """The likeliest class; a class in focus by its threshold, unless a target prior is asked for."""
    focus, rows = artefact.description.focus, artefact.probabilities(logits, target)
    chosen: Sequence[int | None] = [None] * len(rows)
    if focus is not None and target is None:
        chosen = focused(softmax(logits), artefact.names.index(focus.name), focus.threshold)
    return [rule.decide(file, row, k) for file, row, k in zip(files, rows, chosen, strict=True)]
