"""What a run says of itself, as the description of what is shipped from it."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

import tailgrad
from tailgrad.checks import InputError
from tailgrad.files import finite
from tailgrad.posthoc import TemperatureScaling
from tailgrad.recipes.components import NONE
from tailgrad.recipes.predict_labels import is_of_labels, thresholds_of_run
from tailgrad.recipes.restore import Restored
from tailgrad.recipes.run_folder import RunFolder, config_text, read_json
from tailgrad.ship.calibration import Calibration
from tailgrad.ship.description import ONE, ROWS, SEVERAL, Description, Focus, Preprocessing
from tailgrad.ship.limits import limits
from tailgrad.ship.row_encoding import encoding_of_run
from tailgrad.untrusted import of_shape

_MOST_LINES = 12
_FIGURES = (
    "macro_f1",
    "accuracy",
    "balanced_accuracy",
    "g_mean",
    "nll",
    "mean_average_precision",
    "macro_auc",
    "micro_f1",
)
_OF_CLASS = ("precision", "recall", "f1", "average_precision", "auc")


def check_network(folder: RunFolder) -> None:
    """Make sure that a run has a network.

    Raises:
        InputError: its classifier is an estimator.

    Example: see ``ship.export``.
    """
    name = folder.config().estimator.name
    if name != NONE:
        raise InputError(
            f"run must be that of a network to be shipped, got {folder.path} of {name}, which predict fits "
            "again because nothing is pickled; ship a run of a network, such as one of --method "
            "balanced_softmax"
        )


def takes_rows(network: Restored) -> bool:
    """Whether a network takes rows of a table.

    Example: see ``ship.export``.
    """
    return getattr(network.model.backbone, "takes", "images") == "table"


def check_posthoc(network: Restored) -> None:
    """Make sure that every image or row is judged alone.

    Raises:
        InputError: a posthoc method looks at all of them together.

    Example: see ``ship.export``.
    """
    if network.posthoc.transductive:
        names = [
            type(step).__name__ for step in network.posthoc.steps if getattr(step, "transductive", False)
        ]
        raise InputError(
            f"run must judge every {'row' if takes_rows(network) else 'image'} alone to be exported, got "
            f"{', '.join(names)}, which looks at all of them together; train with its mode=inductive"
        )


def own_calibration(network: Restored) -> Calibration:
    """What posthoc methods of the run made of the temperature: it is inside the logits.

    Example: see ``ship.export``.
    """
    found = [
        float(step.temperature) for step in network.posthoc.steps if isinstance(step, TemperatureScaling)
    ]
    words = f"posthoc temperature_scaling, T = {found[-1]:.4g}, inside the logits" if found else "none"
    return Calibration(1.0, words)


def described(folder: RunFolder, network: Restored, calibration: Calibration) -> Description:
    """Names, preprocessing or encoding, prior, figures, conflict and provenance of a finished run.

    Args:
        folder: of the run.
        network: restored from it.
        calibration: of its logits.

    Raises:
        InputError: the run is not finished, or a file of it holds something else than tailgrad writes.

    Example: see ``ship.export``.
    """
    result = folder.result()
    with of_shape(folder.result_file):
        if tuple(result["classes"]["names"]) != network.names:
            raise ValueError("other classes than the weights")
        judged = _of_labels(folder) if is_of_labels(folder.path) else _of_one_label(result, calibration)
        inputs = _of_rows(folder) if takes_rows(network) else {"preprocessing": _preprocessing(network)}
        return Description(
            tailgrad=tailgrad.__version__,
            names=network.names,
            counts=tuple(result["classes"]["counts"]),
            head={"name": type(network.model.head).__name__},
            per_class=[_class_row(row) for row in result["test"]["classes"]],
            headline=_headline(result["test"]),
            conflict=_conflict(folder.path),
            limits=limits(result, calibration.words, (judged | inputs).get("task", ONE)),
            provenance=_provenance(folder, result),
            **(judged | inputs),
        )


def _of_one_label(result: Mapping[str, Any], calibration: Calibration) -> dict[str, Any]:
    """How logits become a class."""
    prior, focus = result.get("prior") or {}, result.get("focus")
    return {
        "temperature": calibration.temperature,
        "calibration": calibration.words,
        "prior": tuple(prior["prior"]) if prior else None,
        "focus": None if focus is None else Focus(name=focus["class"], threshold=focus["threshold"]),
        "ledger": finite(prior),
    }


def _of_labels(folder: RunFolder) -> dict[str, Any]:
    """How logits become labels."""
    return {"task": SEVERAL, "thresholds": thresholds_of_run(folder)}


def _of_rows(folder: RunFolder) -> dict[str, Any]:
    """How columns become the inputs of the graph."""
    return {"task": ROWS, "encoding": encoding_of_run(folder)}


def _preprocessing(network: Restored) -> Preprocessing:
    mean, std = network.normalize.mean, network.normalize.std
    return Preprocessing(
        size=network.size,
        resize="crop" if network.resize == "crop" else "squash",
        mean=(mean[0], mean[1], mean[2]),
        std=(std[0], std[1], std[2]),
    )


def _class_row(row: Mapping[str, Any]) -> dict[str, Any]:
    figures = {name: _estimate(row[name]) for name in _OF_CLASS if row.get(name) is not None}
    plain = ("name", "train_count", "support", "threshold")
    found: dict[str, Any] = finite({key: row[key] for key in plain if key in row} | figures)
    return found


def _estimate(figure: Mapping[str, Any]) -> dict[str, Any]:
    return {key: figure[key] for key in ("value", "low", "high")}


def _headline(test: Mapping[str, Any]) -> dict[str, Any]:
    figures = {name: _estimate(test[name]) for name in _FIGURES if test.get(name) is not None}
    plain = {name: test[name] for name in ("images", "worst_class", "ece") if test.get(name) is not None}
    found: dict[str, Any] = finite(figures | plain)
    return found


def _conflict(path: Path) -> list[str]:
    file = path / "interference" / "heldout.json"
    if not file.is_file():
        return []
    with of_shape(file):
        return [line for line in str(read_json(file)["summary"]).split("\n") if line.strip()][:_MOST_LINES]


def _provenance(folder: RunFolder, result: Mapping[str, Any]) -> dict[str, Any]:
    config = folder.config()
    kept = (
        "data",
        "regime",
        "method",
        "seed",
        "split_seed",
        "epochs",
        "best_epoch",
        "train_images",
        "parameters",
    )
    return {
        **{key: result[key] for key in (*kept, "parameters") if key in result},
        "backbone": config.model.name,
        "weights_sha256": hashlib.sha256(folder.weights.read_bytes()).hexdigest(),
        "config_sha256": hashlib.sha256(config_text(config).encode()).hexdigest(),
        "split_sha256": _split_hash(folder.path / "split.json"),
        "torch": torch.__version__,
    }


def _split_hash(path: Path) -> str:
    if not path.is_file():
        return ""
    with of_shape(path):
        return str(read_json(path)["sha256"])
