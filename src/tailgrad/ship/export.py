"""A finished run as one ONNX file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tailgrad.checks import InputError, in_range
from tailgrad.files import write_with
from tailgrad.recipes.predict_labels import is_of_labels
from tailgrad.recipes.restore import Restored, restore
from tailgrad.recipes.run_folder import RunFolder
from tailgrad.recipes.waiting import Say, silent
from tailgrad.ship.agreement import TOLERANCE, Agreement, agreement, onnx_logits
from tailgrad.ship.artefact import Artefact
from tailgrad.ship.calibration import calibrate
from tailgrad.ship.convert import WithProbabilities, converted
from tailgrad.ship.decision import focused, sigmoid, softmax
from tailgrad.ship.deployed import Deployed
from tailgrad.ship.description import Description
from tailgrad.ship.extra import needed
from tailgrad.ship.int8 import cost, quantized
from tailgrad.ship.run_facts import check_posthoc, check_task, described, own_calibration
from tailgrad.ship.run_images import run_images
from tailgrad.ship.seal import sealed
from tailgrad.ship.target_prior import Frequencies, prior_shift, target_prior
from tailgrad.untrusted import of_shape

_COMPARED, _CALIBRATING, _JUDGED = 64, 128, 5000


@dataclass(frozen=True)
class Exported:
    """An artefact that was written.

    Args:
        file: the artefact.
        bytes: its size.
        description: what it says of itself.

    Example: see ``export``.
    """

    file: Path
    bytes: int
    description: Description


@dataclass(frozen=True)
class Options:
    """What is asked of an export.

    Args:
        int8: quantise.
        calibrate: fit a temperature where the run has none.
        target: class frequencies at the place of use, or None.
        abstain: least probability of a decision that is stored, or None.

    Example:
        >>> Options().int8
        False
    """

    int8: bool = False
    calibrate: bool = False
    target: Frequencies | None = None
    abstain: float | None = None


def export(
    run: str | Path,
    file: str | Path | None = None,
    *,
    int8: bool = False,
    calibrate: bool = False,
    target_prior: Frequencies | None = None,
    abstain: float | None = None,
    say: Say = silent,
) -> Exported:
    """Write a run as one ONNX file: weights, preprocessing, names, temperature, prior, thresholds, ledger.

    A run of several labels an image is shipped with the threshold of every label.
    Heads made of branches are fused (``fused``). The file is written only if ONNX Runtime gives the logits of
    PyTorch to 1e-4, on held-out images of the run where its data are at hand and on random ones otherwise.

    Args:
        run: folder of a finished run.
        file: to write; by default ``model.onnx`` (``model.int8.onnx``) in the folder of the run.
        int8: quantise weights and activations, and measure what that costs each class on test images.
        calibrate: fit a temperature on the run's validation images where no posthoc method did.
        target_prior: class frequencies at the place of use: a mapping, K shares, ``"a=0.7,b=0.3"``,
            ``"uniform"``, ``"train"``, or a YAML, JSON or CSV file. Probabilities are those for these.
        abstain: least probability of a decision, 0 to 1, stored for ``predict``.
        say: told of what is decided.

    Raises:
        InputError: the run is not finished or not one on images, ONNX cannot express it, outputs differ, the
            frequencies do not fit, ``file`` exists, or the extra ``onnx`` is missing; or ``calibrate``,
            ``target_prior`` or ``abstain`` is asked for where the run gives several labels an image.

    Source: pooled heads, arXiv 2606.05740 (methods A.4); label shift by Bayes' rule.

    Example:
        >>> export("missing")
        Traceback (most recent call last):
        ...
        tailgrad.checks.InputError: run must be the folder of a run, got missing without config.yaml; ...
    """
    folder = RunFolder(Path(run))
    folder.config()
    place = folder.path / ("model.int8.onnx" if int8 else "model.onnx") if file is None else Path(file)
    if place.exists():
        raise InputError(f"file must be new, got {place}, which exists; choose another, or remove it")
    for name in ("onnx", "onnxruntime"):
        needed(name, "to export")
    folder.result()
    network = restore(run)
    check_task(network)
    check_posthoc(network)
    options = Options(int8, calibrate, target_prior, abstain)
    about = _about(folder, network, options, say)
    model, about = _model(folder, network, about, say)
    if int8:
        model, about = _small(folder, network, model, about, say)
    data = sealed(model, about.model_dump_json())
    write_with(place, lambda partial: partial.write_bytes(data))
    return Exported(place, len(data), Artefact(place).description)


def _about(folder: RunFolder, network: Restored, options: Options, say: Say) -> Description:
    """The description, before anything is measured."""
    if is_of_labels(folder.path):
        _check_of_labels(options)
        return described(folder, network, own_calibration(network))
    about = described(folder, network, own_calibration(network))
    if options.abstain is not None:
        in_range("abstain", options.abstain, 0, 1)
    if about.calibration != "none" and options.calibrate:
        say(f"the run is calibrated already: {about.calibration}")
    if about.calibration == "none" and options.calibrate:
        about = described(folder, network, calibrate(folder, about.prior, about.counts))
    elif about.calibration == "none":
        say(
            "the run is not calibrated: its probabilities are the network's own; --calibrate fits a "
            "temperature"
        )
    if options.target is not None:
        target = target_prior(options.target, about.names, about.counts)
        prior_shift(about.prior, target)
        with of_shape(folder.result_file):
            say(ledger_words(about))
        if about.calibration == "none":
            say(
                "warning: class frequencies are re-targeted on logits that are not calibrated, which may "
                "shift them too far; add --calibrate, and check on labelled images from the place of use"
            )
        about = about.model_copy(update={"target_prior": target})
    return about.model_copy(update={"abstain": options.abstain})


def _check_of_labels(options: Options) -> None:
    """Raises: InputError: something is asked for that is of one class an image."""
    asked = {"calibrate": options.calibrate or None, "target_prior": options.target}
    for name, value in (asked | {"abstain": options.abstain}).items():
        if value is not None:
            raise InputError(
                f"{name} must be left out for a run of several labels an image, got {value!r}; every label "
                "has a threshold of its own"
            )


def ledger_words(about: Description) -> str:
    """What corrected the class prior before the target prior does, from the ledger.

    Example: see ``export``.
    """
    components = about.ledger.get("components", [])
    moves = [one["name"] for one in components if any(abs(lift) > 1e-9 for lift in one["lift"])]
    unknown = [one["name"] for one in components if one["kind"] == "listed"]
    prior = about.prior or ()
    shares = sorted(zip(prior, about.names, strict=True), reverse=True)
    ends = f"{shares[0][0]:.3g} for {shares[0][1]}, {shares[-1][0]:.3g} for {shares[-1][1]}"
    said = f"corrected already by {' and '.join(moves)}" if moves else "corrected by nothing"
    note = f"; {' and '.join(unknown)} moves it by an amount that is not known" if unknown else ""
    return f"ledger: the class prior was {said}, the logits stand for {ends}{note}; shifted from there"


def _model(folder: RunFolder, network: Restored, about: Description, say: Say) -> tuple[bytes, Description]:
    """The first conversion whose outputs agree with PyTorch's."""
    deployed = Deployed(network)
    images, source = _compared(folder, network, say)
    example = torch.from_numpy(images[:2])
    shift = None
    if about.target_prior is not None:
        shift = torch.from_numpy(prior_shift(about.prior, about.target_prior)).float()
    found: list[Agreement] = []
    for way, model in converted(
        WithProbabilities(deployed, about.temperature, shift, about.several_labels), example
    ):
        found.append(agreement(model, network, images, source))
        if found[-1].fine:
            say(f"ONNX Runtime agrees with PyTorch to {found[-1].difference:.1e} on {len(images)} {source}")
            return model, about.model_copy(update=_checked(found[-1], way, network, deployed))
    raise InputError(
        f"ONNX Runtime must agree with PyTorch to {TOLERANCE}, got differences of "
        f"{', '.join(f'{one.difference:.2g}' for one in found)} on {len(images)} {source}; choose another "
        "backbone, or ship it with --pretrained"
    )


def _checked(found: Agreement, way: str, network: Restored, deployed: Deployed) -> dict[str, Any]:
    before, after = type(network.model.head).__name__, type(deployed.head).__name__
    return {
        "check": {
            "difference": found.difference,
            "tolerance": TOLERANCE,
            "images": found.images,
            "source": found.source,
            "way": way,
            "onnxruntime": needed("onnxruntime", "to export").__version__,
        },
        "head": {"name": before, "form": after, "fused": before != after},
    }


def _compared(folder: RunFolder, network: Restored, say: Say) -> tuple[NDArray[np.uint8], str]:
    try:
        found = run_images(folder, network, "test", _COMPARED).pixels
    except InputError as error:
        say(f"compared on random images: {error}")
        return _random(network.size), "random images"
    short = max(0, 2 - len(found))
    return np.concatenate([found, _random(network.size)[:short]]), "test images of the run"


def _random(size: tuple[int, int]) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (16, 3, *size), np.uint8)


def _chosen(logits: NDArray[np.floating], about: Description) -> NDArray[np.int64]:
    """The class of each image as ``predict`` chooses it, or zeros and ones [N, L] of several labels."""
    if about.thresholds is not None:
        return (sigmoid(logits.astype(np.float64)) >= about.thresholds).astype(np.int64)
    if about.target_prior is not None:
        logits = logits / about.temperature + prior_shift(about.prior, about.target_prior)
    elif about.focus is not None:
        place = about.names.index(about.focus.name)
        return np.array(focused(softmax(logits.astype(np.float64)), place, about.focus.threshold), np.int64)
    found: NDArray[np.int64] = logits.argmax(1)
    return found


def _small(
    folder: RunFolder, network: Restored, model: bytes, about: Description, say: Say
) -> tuple[bytes, Description]:
    """The model in int8, and what that costs each class on test images."""
    training = run_images(folder, network, "train", _CALIBRATING)
    judged = run_images(folder, network, "test", _JUDGED)
    small = quantized(model, training.pixels)
    before, after = (_chosen(onnx_logits(one, judged.pixels), about) for one in (model, small))
    found = cost(before, after, judged.target, network.names)
    found |= {"calibrated_on": len(training), "bytes_float32": len(model), "bytes_int8": len(small)}
    say(f"int8: {found['changed']} of {len(judged)} predictions on test images change")
    return small, about.model_copy(update={"precision": "int8", "int8": found})
