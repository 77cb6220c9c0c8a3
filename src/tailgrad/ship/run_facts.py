"""What a run says of itself, as the description of what is shipped from it."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

import tailgrad
from tailgrad.checks import InputError
from tailgrad.files import finite
from tailgrad.posthoc import TemperatureScaling
from tailgrad.recipes.restore import Restored
from tailgrad.recipes.run_folder import RunFolder, config_text, read_json
from tailgrad.ship.calibration import Calibration
from tailgrad.ship.description import Description, Focus, Preprocessing
from tailgrad.untrusted import of_shape

FEW = 30
"""Test images of a class under which its figures are called uncertain."""
_TOLD = 12
_FIGURES = ("macro_f1", "accuracy", "balanced_accuracy", "g_mean", "nll")


def check_task(network: Restored, folder: RunFolder | None = None) -> None:
    """Make sure that a network takes images and gives one label.

    Args:
        network: restored.
        folder: of its run, where there is one.

    Raises:
        InputError: it takes rows of a table, or gives several labels an image.

    Example: see ``ship.export``.
    """
    if folder is not None:
        with of_shape(folder.result_file):
            several = "mean_average_precision" in folder.result()["test"]
        if several:
            raise InputError(
                f"run must give one label an image to be shipped, got several labels from {folder.path}; "
                "ship its weights, checkpoint/weights.safetensors, as they are"
            )
    takes = getattr(network.model.backbone, "takes", "images")
    if takes == "table":
        raise InputError(
            f"run must be one on images to be shipped, got a network that takes a {takes}; ship its weights, "
            "checkpoint/weights.safetensors, as they are"
        )


def check_posthoc(network: Restored) -> None:
    """Make sure that every image is judged alone.

    Raises:
        InputError: a posthoc method looks at all images together.

    Example: see ``ship.export``.
    """
    if network.posthoc.transductive:
        names = [
            type(step).__name__ for step in network.posthoc.steps if getattr(step, "transductive", False)
        ]
        raise InputError(
            f"run must judge every image alone to be exported, got {', '.join(names)}, which looks at all of "
            "them together; train with its mode=inductive"
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
    """Names, preprocessing, prior, figures, conflict and provenance of a finished run.

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
        prior = result.get("prior") or {}
        focus = result.get("focus")
        return Description(
            tailgrad=tailgrad.__version__,
            names=network.names,
            counts=tuple(result["classes"]["counts"]),
            preprocessing=_preprocessing(network),
            temperature=calibration.temperature,
            calibration=calibration.words,
            prior=tuple(prior["prior"]) if prior else None,
            focus=None if focus is None else Focus(name=focus["class"], threshold=focus["threshold"]),
            head={"name": type(network.model.head).__name__},
            ledger=finite(prior),
            per_class=[_class_row(row) for row in result["test"]["classes"]],
            headline=_headline(result["test"]),
            conflict=_conflict(folder.path),
            limits=_limits(result, calibration),
            provenance=_provenance(folder, result),
        )


def _preprocessing(network: Restored) -> Preprocessing:
    mean, std = network.normalize.mean, network.normalize.std
    return Preprocessing(
        size=network.size,
        resize="crop" if network.resize == "crop" else "squash",
        mean=(mean[0], mean[1], mean[2]),
        std=(std[0], std[1], std[2]),
    )


def _class_row(row: Mapping[str, Any]) -> dict[str, Any]:
    figures = {name: _estimate(row[name]) for name in ("precision", "recall", "f1")}
    found: dict[str, Any] = finite({key: row[key] for key in ("name", "train_count", "support")} | figures)
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
        return [line for line in str(read_json(file)["summary"]).split("\n") if line.strip()][:_TOLD]


def _limits(result: Mapping[str, Any], calibration: Calibration) -> list[str]:
    rows = result["test"]["classes"]
    few = [row["name"] for row in rows if row["support"] < FEW]
    unseen = [row["name"] for row in rows if not row["train_count"]]
    found = [
        f"Trained once, with seed {result['seed']}, on {result['train_images']} images of {result['data']}: "
        "how much another seed would differ is not known from this run.",
        "An image of none of the classes is given one of them all the same.",
        "Figures hold for images drawn as the test images were; a target prior changes class frequencies "
        "and assumes that images of a class look as they did.",
    ]
    if few:
        found.append(f"Fewer than {FEW} test images: {_some(few)}. Read their intervals, not their figures.")
    if unseen:
        found.append(f"Never seen in training: {_some(unseen)}.")
    if calibration.words == "none":
        found.append("The probabilities are not calibrated.")
    if result.get("wrong_labels"):
        found.append(f"{result['wrong_labels']} training labels were replaced on purpose.")
    return found


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _TOLD} more" if len(names) > _TOLD else ""
    return f"{', '.join(names[:_TOLD])}{more}"


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
