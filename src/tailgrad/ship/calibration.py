"""A temperature for a run that has none, from what it said of its validation images."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.optimize import minimize_scalar

from tailgrad.checks import InputError
from tailgrad.data.table_encoding import is_of_rows
from tailgrad.recipes.run_folder import RunFolder
from tailgrad.ship.decision import Floats, softmax
from tailgrad.ship.target_prior import prior_shift

_WIDEST = 5.0


@dataclass(frozen=True)
class Calibration:
    """What the logits are to be divided by, and where that comes from.

    Args:
        temperature: above 0.
        words: where it comes from.

    Example:
        >>> Calibration(1.0, "none").temperature
        1.0
    """

    temperature: float
    words: str


def fitted_temperature(
    logits: Floats, target: Sequence[int], prior: Sequence[float] | None, counts: Sequence[int]
) -> float:
    """The T that minimises the negative log-likelihood of ``softmax(z / T + log(pi / prior))``.

    Held-out images have the prior of the data, ``pi_k = n_k / N``, and corrected logits stand for another
    one: without the shift T would make up for the difference.

    Args:
        logits: of held-out images [N, K].
        target: their classes [N].
        prior: what the logits stand for; None, or a class without share, leaves the shift out.
        counts: training images of each class.

    Source: Guo et al., arXiv 1706.04599; the shift is ours.

    Example:
        >>> rows = np.array([[4.0, 0.0]] * 4)
        >>> t = fitted_temperature(rows, [0, 0, 0, 1], [0.5, 0.5], [5, 5])
        >>> round(1 / (1 + math.exp(-4 / t)), 3)
        0.75
    """
    shift = np.zeros(logits.shape[1])
    if prior is not None and min(*prior, *counts) > 0:
        shift = prior_shift(prior, (np.array(counts) / sum(counts)).tolist())
    rows = np.arange(len(logits))

    def loss(log_temperature: float) -> float:
        p = softmax(logits * math.exp(-log_temperature) + shift)[rows, np.asarray(target)]
        return float(-np.log(np.maximum(p, 1e-300)).mean())

    found = minimize_scalar(loss, bounds=(-_WIDEST, _WIDEST), method="bounded", options={"xatol": 1e-6})
    return math.exp(float(found.x))


def calibrate(folder: RunFolder, prior: Sequence[float] | None, counts: Sequence[int]) -> Calibration:
    """A temperature from the validation logits that a run stored.

    Raises:
        InputError: the predictions are missing, or do not hold the logits of every class.

    Example: see ``ship.export``.
    """
    path = folder.path / "predictions.parquet"
    try:
        table = pq.read_table(path, columns=["part", "target", "logits"], filters=[("part", "=", "val")])
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        raise InputError(
            "calibration must have the validation logits of all classes, got "
            f"{' '.join(str(error).split())[:160]} from {path}; "
            "train with posthoc temperature_scaling instead"
        ) from error
    logits = np.array(table["logits"].to_pylist(), np.float64)
    if logits.ndim != 2 or not len(logits) or logits.shape[1] != len(counts) or not np.isfinite(logits).all():
        raise InputError(
            f"calibration must have validation logits [N, {len(counts)}], got {list(logits.shape)} from "
            f"{path}; repeat the run"
        )
    target = table["target"].to_pylist()
    temperature = fitted_temperature(logits, target, prior, counts)
    fitted_on = f"{len(target)} validation {'rows' if is_of_rows(folder.path) else 'images'}"
    return Calibration(temperature, f"temperature {temperature:.4g} fitted at export on {fitted_on}")
