"""Classes of new images or rows by what was trained or shipped: a run, an artefact, a pretrained folder."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.text import Text

from tailgrad.ship.artefact import Artefact
from tailgrad.ship.by_artefact import by_artefact
from tailgrad.ship.decision import Prediction, Rule
from tailgrad.ship.picture_list import unlisted
from tailgrad.ship.target_prior import Frequencies
from tailgrad.ship.wish import Classes, Wish, check_labels_wish, decided, with_labels
from tailgrad.untrusted import of_shape

Images = Sequence[str | Path]


def predict(
    model: str | Path,
    images: str | Path | Images,
    *,
    top_k: int = 1,
    abstain: float | None = None,
    target_prior: Frequencies | None = None,
    console: Any = None,
) -> list[Prediction]:
    """Classify image files, or rows of tables; an unreadable image is reported in its place.

    A model of several labels an image says which of them each image has, by the threshold of every label.
    Where the model has a class in focus, its tuned threshold decides, unless a target prior changes the
    probabilities that the threshold was tuned on. From an artefact nothing loads PyTorch.

    Args:
        model: folder of a finished run, file of ``export``, or folder of ``save_pretrained``.
        images: a path or several: files, folders that are searched for images, or CSV lists with a column
            ``path``; by a model of a table the CSV or parquet files whose rows are to be classified.
        top_k: classes named for each image or row, at least 1.
        abstain: least probability of a decision, 0 to 1; None takes what the artefact states, else 0.
        target_prior: class frequencies at the place of use: a mapping, K shares, ``"a=0.7,b=0.3"``,
            ``"uniform"``, ``"train"``, or a YAML, JSON or CSV file.
        console: a Rich console that shows how far it is, and what was made up for rows; None is silent.

    Raises:
        InputError: there is no such model, no image, a list or the frequencies do not fit, a table lacks a
            column, a number is outside its range, or the model gives several labels and ``abstain`` or
            ``target_prior`` is given.

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
        return _by_file(Artefact(path), images, wish, console)
    if (path / "model.safetensors").is_file():
        from tailgrad.ship.pretrained import from_pretrained

        found = from_pretrained(path)
        return found.predict(images if found.description.encoding else unlisted(images), wish, console)
    return _by_run(path, images, wish, console)


def _by_file(artefact: Artefact, images: Images, wish: Wish, console: Any) -> list[Prediction]:
    if artefact.description.encoding is None:
        return by_artefact(artefact, unlisted(images), wish)
    from tailgrad.ship.rows_by_artefact import rows_by_artefact  # loads PyArrow

    def say(text: str) -> None:
        if console is not None:
            console.print(Text(text), highlight=False)

    return rows_by_artefact(artefact, images, wish, say)


def _by_run(path: Path, images: Images, wish: Wish, console: Any) -> list[Prediction]:
    from tailgrad.data.table_encoding import is_of_rows
    from tailgrad.recipes import RunFolder
    from tailgrad.recipes import predict as by_run
    from tailgrad.recipes.predict_labels import is_of_labels

    folder = RunFolder(path)
    several = is_of_labels(path)
    if several:
        check_labels_wish(wish)
    # A table is a CSV file too, and no list of images.
    rows = by_run(path, images if is_of_rows(path) else unlisted(images), console=console)
    if several:
        return with_labels(rows, _of_run(folder).names, wish)
    classes = _of_run(folder)
    with of_shape(folder.result_file):
        _check_order(rows, classes.names)
    return decided(rows, classes, wish)


def _check_order(rows: Sequence[Any], names: Sequence[str]) -> None:
    """Names from the result must be those of the weights, by which the rows were named."""
    for row in rows:
        if not row.error and row.probabilities[names.index(row.name)] != row.probability:
            raise ValueError(f"other classes than the weights, among them {row.name!r}")


def _of_run(folder: Any) -> Classes:
    with of_shape(folder.result_file):
        result = folder.result()
        ledger = result.get("prior")
        prior = None if ledger is None else tuple(ledger["prior"])
        return Classes(tuple(result["classes"]["names"]), tuple(result["classes"]["counts"]), prior)
