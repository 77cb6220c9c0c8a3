"""Advice on a run, naming only methods that a recipe can name."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from tailgrad.evaluate import Evaluation
from tailgrad.interference import Interference
from tailgrad.recipes.catalogue import catalogue
from tailgrad.recipes.run_folder import RunFolder
from tailgrad.report import Advice, advise
from tailgrad.untrusted import of_shape


def advise_run(run: str | Path, heldout: Interference | None) -> list[Advice]:
    """What the figures of a finished run speak for.

    Args:
        run: its folder, with its result and its measurement of training images where there is one.
        heldout: a measurement of its held-out images, or None.

    Returns:
        Nothing where the run has no result yet.

    Raises:
        InputError: a file of the run cannot be read, or holds other classes.

    Example: see ``recipes.diagnose``.
    """
    folder = RunFolder(Path(run))
    if not folder.finished:
        return []
    place = folder.path / "interference" / "train"
    training = Interference.load(place) if place.with_suffix(".json").is_file() else None
    with of_shape(folder.path):
        return advise_on(heldout, Evaluation.from_dict(folder.result()["test"]), training)


def advise_on(
    heldout: Interference | None, evaluation: Evaluation, training: Interference | None
) -> list[Advice]:
    """Advice that names methods of the catalogue only.

    Example: see ``recipes.train``.
    """
    known = [entry.name for entry in catalogue() if entry.kind == "method"]
    return advise(heldout, evaluation, training=training, methods=known)


def as_fields(advice: list[Advice]) -> list[dict[str, Any]]:
    """JSON-ready objects.

    Example:
        >>> as_fields([Advice("conflict", "csba", "Because.", {}, 2.0)])[0]["remedy"]
        'csba'
    """
    return [asdict(one) for one in advice]
