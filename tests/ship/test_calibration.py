"""A temperature fitted at export: the least loss of all, and what the stored predictions must hold."""

import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailgrad.checks import InputError
from tailgrad.posthoc import TemperatureScaling
from tailgrad.recipes import RunFolder
from tailgrad.ship.calibration import calibrate, fitted_temperature


def loss(logits: np.ndarray, target: list[int], shift: np.ndarray, temperature: float) -> float:
    z = logits / temperature + shift
    return float(np.mean(np.log(np.exp(z - z.max(1, keepdims=True)).sum(1)) + z.max(1))) - float(
        np.mean(z[np.arange(len(z)), target])
    )


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), uniform=st.booleans())
def test_no_temperature_of_a_grid_is_better(seed: int, uniform: bool) -> None:
    random = np.random.default_rng(seed)
    logits, target = 3 * random.normal(size=(40, 3)), random.integers(0, 3, 40).tolist()
    prior, counts = ([1 / 3] * 3 if uniform else [0.6, 0.3, 0.1]), [60, 30, 10]
    shift = np.log(np.array(counts) / 100) - np.log(prior)
    found = fitted_temperature(logits, target, prior, counts)
    best = min(loss(logits, target, shift, math.exp(t)) for t in np.linspace(-5, 5, 201))
    assert loss(logits, target, shift, found) <= best + 1e-6


def test_without_a_shift_it_is_temperature_scaling() -> None:
    random = np.random.default_rng(1)
    target = random.integers(0, 3, 300)
    logits = 4 * np.eye(3)[target] + 3 * random.normal(size=(300, 3))
    wanted = float(TemperatureScaling().fit(logits, target).temperature)
    for prior, counts in ((None, [5, 5, 5]), ([1 / 3] * 3, [5, 5, 5]), ([0.5, 0.5, 0], [5, 5, 0])):
        assert fitted_temperature(logits, target.tolist(), prior, counts) == pytest.approx(wanted, rel=1e-3)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda table: table.drop_columns(["logits"]), "must have the validation logits of all classes"),
        (lambda table: table.filter(pa.compute.equal(table["part"], "test")), r"\[N, 3\], got \[0\]"),
        (
            lambda table: table.set_column(
                table.column_names.index("logits"), "logits", [[[0.0, 1.0]] * len(table)]
            ),
            r"validation logits \[N, 3\], got \[\d+, 2\]",
        ),
        (
            lambda table: table.set_column(
                table.column_names.index("logits"), "logits", [[[0.0, 1.0, math.inf]] * len(table)]
            ),
            r"validation logits \[N, 3\], got \[\d+, 3\]",
        ),
    ],
)
def test_predictions_of_another_kind_are_refused(run: Path, tmp_path: Path, change: Any, said: str) -> None:
    copy = Path(shutil.copytree(run, tmp_path / "run"))
    path = copy / "predictions.parquet"
    pq.write_table(change(pq.read_table(path)), path)
    with pytest.raises(InputError, match=said):
        calibrate(RunFolder(copy), None, [1, 1, 1])
    path.unlink()
    with pytest.raises(InputError, match="train with posthoc temperature_scaling instead"):
        calibrate(RunFolder(copy), None, [1, 1, 1])
