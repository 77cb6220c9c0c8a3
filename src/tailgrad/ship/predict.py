"""Classes of new images by whatever was trained or shipped: a run, an artefact, a pretrained folder."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tailgrad.checks import InputError
from tailgrad.data.decode import UnreadableImage, decode
from tailgrad.data.files import find_images
from tailgrad.data.resize import resize
from tailgrad.ship.artefact import Artefact
from tailgrad.ship.decision import Floats, Prediction, Rule, focused, softmax, unreadable
from tailgrad.ship.picture_list import unlisted
from tailgrad.ship.target_prior import Frequencies, prior_shift, target_prior
from tailgrad.untrusted import of_shape

BATCH = 64
Images = Sequence[str | Path]


@dataclass(frozen=True)
class Wish:
    """What is asked of predictions.

    Args:
        top_k: classes named for each image, at least 1.
        abstain: least probability of a decision, 0 to 1; None takes what the artefact states, else 0.
        target: class frequencies at the place of use; None takes what the artefact states.

    Example:
        >>> Wish().top_k
        1
    """

    top_k: int = 1
    abstain: float | None = None
    target: Frequencies | None = None


def predict(
    model: str | Path,
    images: str | Path | Images,
    *,
    top_k: int = 1,
    abstain: float | None = None,
    target_prior: Frequencies | None = None,
    console: Any = None,
) -> list[Prediction]:
    """Classify image files; an unreadable one is reported in its place, the others are classified.

    Where the model has a class in focus, its tuned threshold decides, unless a target prior changes the
    probabilities that the threshold was tuned on. From an artefact nothing loads PyTorch.

    Args:
        model: folder of a finished run, file of ``export``, or folder of ``save_pretrained``.
        images: a path or several: files, folders that are searched for images, or CSV lists with a column
            ``path``; by a run on a table the CSV or parquet files whose rows are to be classified.
        top_k: classes named for each image, at least 1.
        abstain: least probability of a decision, 0 to 1; None takes what the artefact states, else 0.
        target_prior: class frequencies at the place of use: a mapping, K shares, ``"a=0.7,b=0.3"``,
            ``"uniform"``, ``"train"``, or a YAML, JSON or CSV file.
        console: a Rich console that shows how far it is; None is silent.

    Raises:
        InputError: there is no such model, no image, a list or the frequencies do not fit, a number is
            outside its range.

    Example:
        >>> predict("missing", ["a.png"])
        Traceback (most recent call last):
        ...
        tailgrad.checks.InputError: run must be the folder of a run, got missing without config.yaml; ...
    """
    wish = Wish(top_k, abstain, target_prior)
    Rule((), top_k, abstain or 0.0)  # a wrong number is refused before anything is loaded
    path = Path(model)
    images = [images] if isinstance(images, str | Path) else images
    if path.is_file() or path.suffix.lower() == ".onnx":
        return _by_artefact(Artefact(path), images, wish)
    if (path / "model.safetensors").is_file():
        from tailgrad.ship.pretrained import from_pretrained

        return from_pretrained(path).predict(unlisted(images), wish, console)
    return _by_run(path, images, wish, console)


@dataclass(frozen=True)
class Classes:
    """The classes of a network, and what its probabilities stand for.

    Args:
        names: K class names.
        counts: training images of each.
        prior: that the probabilities stand for, or None where it is not known.
        temperature: that the logits are still to be divided by.
        target: frequencies stored with the network, or None.

    Example:
        >>> Classes(("a", "b"), (9, 1)).temperature
        1.0
    """

    names: tuple[str, ...]
    counts: tuple[int, ...]
    prior: tuple[float, ...] | None = None
    temperature: float = 1.0
    target: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        for values in (self.counts, self.prior):
            if values is not None and (len(values) != len(self.names) or not sum(values) > 0):
                raise ValueError(f"{len(values)} entries for {len(self.names)} classes, or none above 0")

    def asked(self, target: Frequencies | None) -> tuple[float, ...] | None:
        """The frequencies asked for, else those stored."""
        return self.target if target is None else target_prior(target, self.names, self.counts)


def decided(rows: Sequence[Any], classes: Classes, wish: Wish) -> list[Prediction]:
    """Predictions of a network in memory, with what was asked for besides.

    Args:
        rows: predictions of ``recipes``.
        classes: what they stand for.
        wish: what is asked.

    Raises:
        InputError: the target prior does not fit.

    Example: see ``predict``.
    """
    rule = Rule(classes.names, wish.top_k, wish.abstain or 0.0)
    target = classes.asked(wish.target)
    change = None if target is None else prior_shift(classes.prior, target)
    return [_one(rule, row, change, classes.temperature) for row in rows]


def _one(rule: Rule, row: Any, change: Floats | None, temperature: float) -> Prediction:
    if row.error:
        return unreadable(row.file, row.error)
    shares, chosen = np.array(row.probabilities), rule.names.index(row.name)
    if change is not None or temperature != 1.0:
        logits = np.log(np.maximum(shares, np.finfo(np.float64).tiny)) / temperature
        shares = softmax((logits if change is None else logits + change)[None])[0]
    found = rule.decide(row.file, shares, chosen if change is None else None)
    return replace(found, label=row.label)


def _by_run(path: Path, images: Images, wish: Wish, console: Any) -> list[Prediction]:
    from tailgrad.recipes import RunFolder
    from tailgrad.recipes import predict as by_run
    from tailgrad.recipes.predict_labels import is_of_labels
    from tailgrad.recipes.predict_rows import is_of_rows

    folder = RunFolder(path)
    # A table is a CSV file too, and no list of images.
    rows = by_run(path, images if is_of_rows(path) else unlisted(images), console=console)
    if is_of_labels(path):
        return _of_labels(rows, _of_run(folder).names, wish)
    classes = _of_run(folder)
    with of_shape(folder.result_file):
        _check_order(rows, classes.names)
    return decided(rows, classes, wish)


def _check_order(rows: Sequence[Any], names: Sequence[str]) -> None:
    """Names from the result must be those of the weights, by which the rows were named."""
    for row in rows:
        if not row.error and row.probabilities[names.index(row.name)] != row.probability:
            raise ValueError(f"other classes than the weights, among them {row.name!r}")


def _of_labels(rows: Sequence[Any], names: Sequence[str], wish: Wish) -> list[Prediction]:
    """Predictions of several labels, each at its own threshold; they have no prior in common."""
    for name, asked in (("abstain", wish.abstain), ("target_prior", wish.target)):
        if asked is not None:
            raise InputError(
                f"{name} must be left out for a run of several labels an image, got {asked!r}; every label "
                "has a threshold of its own"
            )
    found = []
    for row in rows:
        ranked = sorted(zip(names, row.probabilities, strict=False), key=lambda pair: -pair[1])
        top = tuple(ranked[: wish.top_k])
        found.append(Prediction(row.file, row.name, row.probability, row.probabilities, row.error, top))
    return found


def _of_run(folder: Any) -> Classes:
    with of_shape(folder.result_file):
        result = folder.result()
        ledger = result.get("prior")
        prior = None if ledger is None else tuple(ledger["prior"])
        return Classes(tuple(result["classes"]["names"]), tuple(result["classes"]["counts"]), prior)


def _by_artefact(artefact: Artefact, images: Images, wish: Wish) -> list[Prediction]:
    about = artefact.description
    classes = Classes(about.names, about.counts, target=about.target_prior)
    target = classes.asked(wish.target)
    least = about.abstain if wish.abstain is None else wish.abstain
    rule = Rule(about.names, wish.top_k, least or 0.0)
    files = find_images(unlisted(images))
    batches = (files[start : start + BATCH] for start in range(0, len(files), BATCH))
    return [one for batch in batches for one in _of_batch(artefact, batch, rule, target)]


def _of_batch(
    artefact: Artefact, files: Sequence[Path], rule: Rule, target: Sequence[float] | None
) -> list[Prediction]:
    form = artefact.description.preprocessing
    pixels: list[NDArray[np.uint8]] = []
    errors: dict[Path, str] = {}
    for path in files:
        try:
            pixels.append(resize(decode(path.read_bytes(), str(path), form.size), form.size, form.resize))
        except (UnreadableImage, OSError) as error:
            errors[path] = error.reason if isinstance(error, UnreadableImage) else str(error)
    left = iter(_rows(artefact, pixels, target))
    return [
        unreadable(str(path), errors[path]) if path in errors else rule.decide(str(path), *next(left))
        for path in files
    ]


def _rows(
    artefact: Artefact, pixels: Sequence[NDArray[np.uint8]], target: Sequence[float] | None
) -> Iterator[tuple[Floats, int | None]]:
    """Probabilities of each image, and its class where a threshold decides."""
    if not pixels:
        return
    logits = artefact.logits(np.ascontiguousarray(np.stack(pixels).transpose(0, 3, 1, 2)))
    focus, rows = artefact.description.focus, artefact.probabilities(logits, target)
    if focus is None or target is not None:
        yield from ((row, None) for row in rows)
        return
    chosen = focused(softmax(logits), artefact.names.index(focus.name), focus.threshold)
    yield from zip(rows, chosen, strict=True)
