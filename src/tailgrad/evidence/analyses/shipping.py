"""What a finished run loses on its way to where it is used: in eight bits, and under other class frequencies.

Every run of group ``runs`` is exported as ``tailgrad export --onnx --int8`` does it; nothing is trained.

Figures are ``METHOD.NAME``, means over runs:

- ``difference``: largest difference of a logit between ONNX Runtime and PyTorch, in float32;
- ``changed``: share of test images that int8 gives another class; ``change``: mean change of recall over
  classes; ``change_head``, ``change_tail``: over those of a third; ``change_tail_minus_head``;
- ``kept_prior`` and ``target_prior``: accuracy where test images count as if classes came as often as in
  training, without and with that as target prior; ``gain``, their difference; ``target_prior.change``,
  against that of ``settings.reference``; ``calibrated_prior``, ``calibrated_gain``: the same after the
  temperature that ``--calibrate`` fits on validation images.
"""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tailgrad.evaluate.groups import thirds
from tailgrad.evidence.figures import Figure
from tailgrad.evidence.lab import Analysis, Lab, Table
from tailgrad.evidence.measured import cell_name, figure_of, measured
from tailgrad.recipes.run_folder import RunFolder
from tailgrad.report.stored_logits import stored_logits
from tailgrad.ship import export
from tailgrad.ship.calibration import calibrate
from tailgrad.ship.description import Description
from tailgrad.ship.target_prior import prior_shift

GROUP = "runs"
EIGHT_BITS = ("changed", "change", "change_head", "change_tail", "change_tail_minus_head")
SHOWN = (*EIGHT_BITS, "kept_prior", "target_prior", "gain", "calibrated_prior", "calibrated_gain")


def analyse(lab: Lab) -> Analysis:
    """See above."""
    runs: dict[str, list[dict[str, Any]]] = {}
    found = lab.runs(GROUP)
    lab.expect(sum(map(len, found.values())))
    for method, folders in found.items():
        for folder in folders:
            values = lab.cell(cell_name(folder), lambda folder=folder: shipped(folder))  # type: ignore[misc]
            runs.setdefault(method, []).append(measured(folder.result(), values))
    figures = {
        f"{method}.{name}": figure
        for method, own in runs.items()
        for name in ("difference", *SHOWN)
        if (figure := figure_of(own, name)) is not None
    }
    reference = str(lab.settings["reference"])
    for method in runs.keys() - {reference} if reference in runs else ():
        change = figure_of(runs[method], "target_prior", runs[reference])
        figures |= {} if change is None else {f"{method}.target_prior.change": change}
    return Analysis(figures, [_table(list(runs), figures)])


def shipped(folder: RunFolder) -> dict[str, float]:
    """All figures of one run.

    Raises:
        InputError: it cannot be exported.

    Example: see ``tests/evidence/test_shipping.py``.
    """
    with TemporaryDirectory() as name:
        about = export(folder.path, Path(name) / "small.onnx", int8=True).description
    logits, target = stored_logits(folder.path, "test")
    temperature = calibrate(folder, about.prior, about.counts).temperature
    return {
        "difference": float(about.check["difference"]),
        **eight_bits(about),
        **frequencies(logits, target, about, temperature),
    }


def eight_bits(about: Description) -> dict[str, float]:
    """What int8 changes, from the description of a file.

    Example: see ``tests/evidence/test_shipping.py``.
    """
    rows = about.int8["classes"]
    change = np.array([row["after"]["value"] - row["before"]["value"] for row in rows])
    thirds_of = thirds(about.counts)
    head, tail = (float(np.mean(change[list(thirds_of[name])])) for name in ("head", "tail"))
    return {
        "changed": about.int8["changed"] / about.int8["images"],
        "change": float(change.mean()),
        "change_head": head,
        "change_tail": tail,
        "change_tail_minus_head": tail - head,
    }


def frequencies(
    logits: NDArray[np.floating[Any]], target: NDArray[np.int64], about: Description, temperature: float
) -> dict[str, float]:
    """Accuracy at the class frequencies of training, without and with them as target prior.

    Args:
        logits: of test images [N, K].
        target: class indices [N].
        about: with the prior that the logits stand for; without one there is nothing to give.
        temperature: of the calibrated logits.

    Example: see ``tests/evidence/test_shipping.py``.
    """
    if about.prior is None:
        return {}
    wanted = np.array(about.counts) / sum(about.counts)
    shift = prior_shift(about.prior, wanted.tolist())
    ways = (logits, logits + shift, logits / temperature + shift)
    kept, moved, calibrated = (weighted_accuracy(z, target, wanted) for z in ways)
    return {
        "kept_prior": kept,
        "target_prior": moved,
        "gain": moved - kept,
        "calibrated_prior": calibrated,
        "calibrated_gain": calibrated - kept,
    }


def weighted_accuracy(
    logits: NDArray[np.floating[Any]],
    target: NDArray[np.int64],
    shares: NDArray[np.float64] | Sequence[float],
) -> float:
    """Share of right answers if classes came as often as ``shares`` [K] say.

    Example:
        >>> weighted_accuracy(np.array([[1.0, 0], [1, 0], [1, 0]]), np.array([0, 1, 1]), [0.9, 0.1])
        0.9
    """
    right = logits.argmax(1) == target
    return float(sum(share * right[target == k].mean() for k, share in enumerate(shares)))


def _table(methods: list[str], figures: dict[str, Figure]) -> Table:
    rows = tuple(
        (
            method,
            *(
                str(figures[f"{method}.{name}"].mean) if f"{method}.{name}" in figures else ""
                for name in SHOWN
            ),
        )
        for method in methods
    )
    header = ("method", *(name.replace("_", " ") for name in SHOWN))
    return Table("On the way to where it is used", header, rows, "Means over splits, 95 %.")
