import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchmetrics.functional.classification import multiclass_calibration_error

from tailgrad.checks import InputError
from tailgrad.evaluate import calibration_errors, expected_calibration_error


def test_worked_figure() -> None:
    found = expected_calibration_error(np.array([0.9, 0.8, 0.6, 0.55]), np.array([1, 1, 0, 1]), bins=10)
    assert found == pytest.approx(0.1125)


def test_bins_are_closed_on_the_right() -> None:
    # 0.5 lies in (0.4, 0.5] with 0.45: one bin, gaps cancel. Closed on the left it would stand alone.
    assert expected_calibration_error(np.array([0.5, 0.45]), np.array([1, 0]), bins=10) == pytest.approx(
        0.025
    )
    assert expected_calibration_error(np.array([0.0, 1.0]), np.array([0, 1]), bins=10) == 0


@given(
    st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=40),
    st.integers(1, 20),
)
def test_agrees_with_a_loop_over_bins(pairs: list[tuple[float, bool]], bins: int) -> None:
    confidence, correct = np.array([c for c, _ in pairs]), np.array([t for _, t in pairs])
    edges, wanted = np.linspace(0, 1, bins + 1), 0.0
    for b in range(bins):
        inside = (confidence > edges[b]) & (confidence <= edges[b + 1])
        if b == 0:
            inside |= confidence == 0
        if inside.any():
            wanted += inside.mean() * abs(confidence[inside].mean() - correct[inside].mean())
    assert expected_calibration_error(confidence, correct, bins) == pytest.approx(wanted)


def test_overall_agrees_with_torchmetrics() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(300, 5, generator=generator, dtype=torch.float64) * 2
    target = torch.randint(5, (300,), generator=generator)
    wanted = multiclass_calibration_error(logits.softmax(1), target, num_classes=5, n_bins=15)
    overall, by_class = calibration_errors(logits, target)
    assert overall == pytest.approx(float(wanted), abs=1e-6)
    assert len(by_class) == 5


def test_true_probabilities_are_calibrated_and_sharpened_ones_are_not() -> None:
    random = np.random.default_rng(0)
    logits = random.normal(size=(20_000, 3))
    gumbel = random.gumbel(size=logits.shape)
    target = (logits + gumbel).argmax(1)
    honest, by_class = calibration_errors(logits, target)
    assert max(honest, *by_class) < 0.02
    assert calibration_errors(logits * 4, target)[0] > 0.15


@pytest.mark.parametrize(
    ("confidence", "correct", "words"),
    [
        (np.array([]), np.array([]), "N at least 1"),
        (np.array([0.5]), np.array([1, 0]), r"got \(1,\) and \(2,\)"),
        (np.array([1.5]), np.array([1]), r"in \[0, 1\], got 1.5"),
        (np.array([np.nan]), np.array([1]), "nan"),
    ],
)
def test_bad_input_is_named(confidence: np.ndarray, correct: np.ndarray, words: str) -> None:
    with pytest.raises(InputError, match=words):
        expected_calibration_error(confidence, correct)
