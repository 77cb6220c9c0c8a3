"""A finished run as one ONNX file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from tailgrad.checks import InputError
from tailgrad.files import write_with
from tailgrad.recipes.restore import Restored, restore
from tailgrad.recipes.run_folder import RunFolder
from tailgrad.recipes.waiting import Say, silent
from tailgrad.ship.agreement import TOLERANCE, Agreement, agreement, onnx_logits
from tailgrad.ship.artefact import Artefact
from tailgrad.ship.convert import WithProbabilities, converted
from tailgrad.ship.decision import focused, sigmoid, softmax
from tailgrad.ship.deployed import Deployed
from tailgrad.ship.deployed_rows import DeployedRows
from tailgrad.ship.description import Description
from tailgrad.ship.examples import Examples, random_examples
from tailgrad.ship.export_options import Options, described_with
from tailgrad.ship.extra import needed
from tailgrad.ship.feed import Feed, length, part
from tailgrad.ship.int8 import cost, quantized
from tailgrad.ship.run_facts import check_network, check_posthoc
from tailgrad.ship.run_images import run_images
from tailgrad.ship.run_rows import run_rows
from tailgrad.ship.seal import sealed
from tailgrad.ship.target_prior import Frequencies, prior_shift

_COMPARED, _JUDGED = 64, 5000
_CALIBRATING = {"images": 128, "rows": 4096}
"""Training examples that ranges of activations are taken from; few may miss those of a rare class."""


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

    A run of several labels an image is shipped with the threshold of every label, a run on a table with the
    encoding of its columns in place of preprocessing. Heads made of branches are fused (``fused``). The file
    is written only if ONNX Runtime gives the logits of PyTorch to 1e-4, on held-out images or rows of the run
    where its data are at hand and on random ones otherwise.

    Args:
        run: folder of a finished run.
        file: to write; by default ``model.onnx`` (``model.int8.onnx``) in the folder of the run.
        int8: quantise weights and activations, and measure what that costs each class on test images or rows.
        calibrate: fit a temperature on the run's validation images or rows where no posthoc method did.
        target_prior: class frequencies at the place of use: a mapping, K shares, ``"a=0.7,b=0.3"``,
            ``"uniform"``, ``"train"``, or a YAML, JSON or CSV file. Probabilities are those for these.
        abstain: least probability of a decision, 0 to 1, stored for ``predict``.
        say: told of what is decided.

    Raises:
        InputError: the run is not finished or has no network, ONNX cannot express it, outputs differ, the
            frequencies do not fit, ``file`` exists, or the extra ``onnx`` is missing; or ``calibrate``,
            ``target_prior`` or ``abstain`` is asked for where the run gives several labels an image.

    Source: pooled heads, arXiv 2606.05740; label shift by Bayes' rule.

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
    check_network(folder)
    network = restore(run)
    check_posthoc(network)
    about = described_with(folder, network, Options(int8, calibrate, target_prior, abstain), say)
    model, about = _model(folder, network, about, say)
    if int8:
        model, about = _small(folder, network, model, about, say)
    data = sealed(model, about.model_dump_json())
    write_with(place, lambda partial: partial.write_bytes(data))
    return Exported(place, len(data), Artefact(place).description)


def _model(folder: RunFolder, network: Restored, about: Description, say: Say) -> tuple[bytes, Description]:
    """The first conversion whose outputs agree with PyTorch's."""
    feed, source = _compared(folder, network, about, say)
    deployed = Deployed(network) if about.encoding is None else DeployedRows(network, tuple(feed))
    shift = None
    if about.target_prior is not None:
        shift = torch.from_numpy(prior_shift(about.prior, about.target_prior)).float()
    found: list[Agreement] = []
    whole = WithProbabilities(deployed, about.temperature, shift, about.several_labels)
    for way, model in converted(whole, feed):
        found.append(agreement(model, network, feed, source))
        if found[-1].fine:
            say(f"ONNX Runtime agrees with PyTorch to {found[-1].difference:.1e} on {length(feed)} {source}")
            return model, about.model_copy(update=_checked(found[-1], way, network, deployed.head))
    raise InputError(
        f"ONNX Runtime must agree with PyTorch to {TOLERANCE}, got differences of "
        f"{', '.join(f'{one.difference:.2g}' for one in found)} on {length(feed)} {source}; choose another "
        "backbone, or ship it with --pretrained"
    )


def _checked(found: Agreement, way: str, network: Restored, head: nn.Module) -> dict[str, Any]:
    before, after = type(network.model.head).__name__, type(head).__name__
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


def _examples(folder: RunFolder, network: Restored, about: Description, part: str, most: int) -> Examples:
    if about.encoding is not None:
        return run_rows(folder, about.encoding, part, most)
    return run_images(folder, network, part, most)


def _compared(folder: RunFolder, network: Restored, about: Description, say: Say) -> tuple[Feed, str]:
    """What outputs are compared on, at least two examples of it, and in words what that is."""
    random = random_examples(about)
    try:
        found = _examples(folder, network, about, "test", _COMPARED)
    except InputError as error:
        say(f"compared on random {about.kind}: {error}")
        return random, f"random {about.kind}"
    filled = part(random, 0, max(0, 2 - len(found)))
    both = {name: np.concatenate([values, filled[name]]) for name, values in found.feed.items()}
    return both, f"test {about.kind} of the run"


def _chosen(logits: NDArray[np.floating], about: Description) -> NDArray[np.int64]:
    """The class of each example as ``predict`` chooses it, or zeros and ones [N, L] of several labels."""
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
    """The model in int8, and what that costs each class on test images or rows."""
    training = _examples(folder, network, about, "train", _CALIBRATING[about.kind])
    judged = _examples(folder, network, about, "test", _JUDGED)
    small = quantized(model, training.feed)
    before, after = (_chosen(onnx_logits(one, judged.feed), about) for one in (model, small))
    found = cost(before, after, judged.target, network.names)
    found |= {"calibrated_on": len(training), "bytes_float32": len(model), "bytes_int8": len(small)}
    say(f"int8: {found['changed']} of {len(judged)} predictions on test {about.kind} change")
    return small, about.model_copy(update={"precision": "int8", "int8": found})
