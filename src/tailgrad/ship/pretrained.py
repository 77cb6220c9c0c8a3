"""A run in the Hugging Face layout, written and read: configuration, weights and model card in one folder."""

import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tailgrad.checks import InputError
from tailgrad.files import write_json, write_text, write_with
from tailgrad.models import Classifier
from tailgrad.recipes.after_training import FILE
from tailgrad.recipes.compose import validate
from tailgrad.recipes.predict import classify
from tailgrad.recipes.predict_labels import label_images
from tailgrad.recipes.predict_rows import classify_rows
from tailgrad.recipes.restore import Restored, rebuilt, restore
from tailgrad.recipes.run_folder import RunFolder, read_json
from tailgrad.ship.decision import Prediction
from tailgrad.ship.description import Description, read_description
from tailgrad.ship.hub_layout import (
    CARD,
    CONFIG,
    PREPROCESSOR,
    WANTED,
    WEIGHTS,
    configuration,
    model_name,
    preprocessor,
)
from tailgrad.ship.model_card import model_card
from tailgrad.ship.row_encoding import check_encoding
from tailgrad.ship.run_facts import check_network, described, own_calibration, takes_rows
from tailgrad.ship.wish import Classes, Wish, check_labels_wish, decided, with_labels
from tailgrad.untrusted import of_shape


@dataclass(frozen=True)
class Pretrained:
    """A network of ``from_pretrained``.

    Args:
        network: with what its inputs and outputs mean.
        description: what the folder says of it.

    Example: see ``from_pretrained``.
    """

    network: Restored
    description: Description

    @property
    def model(self) -> Classifier:
        """Normalised images [N, 3, H, W] or ``TableInputs`` -> logits [N, K], in evaluation mode."""
        return self.network.model

    @property
    def names(self) -> tuple[str, ...]:
        """Class names, in logit order."""
        return self.network.names

    def predict(
        self, images: Sequence[str | Path], wish: Wish | None = None, console: Any = None
    ) -> list[Prediction]:
        """Classify image files, or the rows of tables, as ``tailgrad.predict`` does.

        Raises:
            InputError: there is no image, a column is missing, or the wish does not fit.
        """
        about, wish = self.description, wish or Wish()
        if about.thresholds is not None:
            check_labels_wish(wish)
            found = label_images(self.network, about.thresholds, images, console=console)
            return with_labels(found, about.names, wish)
        classes = Classes(about.names, about.counts, about.prior, about.temperature, about.target_prior)
        focus = None
        if about.focus is not None:
            focus = about.names.index(about.focus.name), about.focus.threshold
        if about.encoding is not None:
            rows = classify_rows(self.network, about.encoding, images, focus, console=console)
        else:
            rows = classify(self.network, images, focus, console=console)
        return decided(rows, classes, wish)


def save_pretrained(run: str | Path, folder: str | Path) -> Path:
    """Write a finished run in the Hugging Face layout, with a model card.

    ``config.json``, ``model.safetensors`` (and ``posthoc.safetensors``), ``preprocessor_config.json`` and
    ``README.md``: the per-class table with intervals, what conflict was measured, the ledger and the limits.
    Of a run on a table ``config.json`` holds the encoding of the columns, and there is no
    ``preprocessor_config.json``.

    Args:
        run: folder of a finished run.
        folder: to write; new or empty.

    Returns:
        The folder.

    Raises:
        InputError: the run is not finished or has no network, or the folder holds files.

    Source: the layout of huggingface.co models; the card's metadata specification.

    Example:
        >>> save_pretrained("missing", "out")
        Traceback (most recent call last):
        ...
        tailgrad.checks.InputError: run must be the folder of a run, got missing without config.yaml; ...
    """
    source, place = RunFolder(Path(run)), Path(folder)
    config = source.config()
    check_new(place)
    source.result()
    check_network(source)
    network = restore(run)
    about = described(source, network, own_calibration(network))
    with of_shape(source.result_file):
        card = model_card(about, model_name(about))
    write_json(place / CONFIG, configuration(about, config, network))
    if about.preprocessing is not None:
        write_json(place / PREPROCESSOR, preprocessor(about.preprocessing))
    for before, name in ((source.weights, WEIGHTS), (source.weights.parent / FILE, FILE)):
        if before.is_file() and (name == WEIGHTS or config.posthoc):
            write_with(place / name, partial(shutil.copyfile, before))
    write_text(place / CARD, card)
    return place


def check_new(folder: Path) -> None:
    """Make sure that nothing would be written over.

    Raises:
        InputError: the folder holds files, or is one.

    Example:
        >>> check_new(Path("new"))
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"folder must be new or empty, got {folder}; choose another, or empty it")


def from_pretrained(folder_or_id: str | Path) -> Pretrained:
    """A network from a folder of ``save_pretrained``, or from the Hugging Face Hub.

    Args:
        folder_or_id: a local folder, or ``owner/name`` on the hub where there is no such folder; only the
            files of the layout are fetched.

    Raises:
        InputError: there is no such model, or its files are not what ``save_pretrained`` writes.

    Example:
        >>> from_pretrained("missing")
        Traceback (most recent call last):
        ...
        tailgrad.checks.InputError: model must be a folder of save_pretrained or owner/name on the hub, ...
    """
    folder = _local(str(folder_or_id))
    path = folder / CONFIG
    found = read_json(path)
    with of_shape(path, "save it again"):
        text = json.dumps(found["tailgrad"])
        about = read_description(text, str(path))
        config = validate(found["tailgrad_config"])
    network = rebuilt(config, folder / WEIGHTS)
    if about.encoding is not None:
        check_encoding(about.encoding, folder / WEIGHTS, str(path))
    else:
        _check_images(network, about, folder)
    return Pretrained(network, about)


def _check_images(network: Restored, about: Description, folder: Path) -> None:
    form = about.preprocessing
    assert form is not None  # this tells the type checker
    if takes_rows(network) or network.names != about.names or network.size != form.size:
        raise InputError(
            f"{CONFIG} must describe the weights beside it, got {len(about.names)} classes at "
            f"{form.size} in {folder} for {len(network.names)} at {network.size}; save it again"
        )


def _local(name: str) -> Path:
    folder = Path(name)
    if folder.is_file():
        raise InputError(
            f"model must be a folder of save_pretrained, got the file {name!r}; an exported file "
            "is for tailgrad.predict"
        )
    if folder.exists():
        return folder
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name) or name.startswith("."):
        raise InputError(
            f"model must be a folder of save_pretrained or owner/name on the hub, got {name!r}, which "
            "does not exist; check the path"
        )
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=WANTED))
    except Exception as error:  # no name, no route, no such repository: libraries below differ
        raise InputError(
            f"model must be at hand or on the hub, got {name!r}: {type(error).__name__}: "
            f"{' '.join(str(error).split())[:160]}; check the name, or download the folder yourself"
        ) from error
