"""Sketches: linear, unbiased, as exact as theory says, and exact where everything fits."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tailgrad.checks import InputError
from tailgrad.interference import class_gradients
from tailgrad.interference.sketch import Sketcher


def _sketch(sketcher: Sketcher, rows: torch.Tensor) -> torch.Tensor:
    """Rows cut into the sketcher's parameters, and sketched."""
    start, total = 0, torch.zeros(len(rows), sketcher.size, dtype=rows.dtype)
    for name, numel in zip(sketcher.names, NUMELS, strict=True):
        total += sketcher.of(name, rows[:, start : start + numel])
        start += numel
    return total


NUMELS = (700, 64, 1, 1235)
TOTAL = sum(NUMELS)


def _sketcher(size: int, seed: int = 0) -> Sketcher:
    return Sketcher({f"p{i}": n for i, n in enumerate(NUMELS)}, size, seed)


@settings(max_examples=20, deadline=None)
@given(size=st.integers(64, 3000), a=st.floats(-3, 3), b=st.floats(-3, 3))
def test_linear(size: int, a: float, b: float) -> None:
    x, y = torch.randn(2, 1, TOTAL, dtype=torch.float64)
    sketcher = _sketcher(size)
    both = a * _sketch(sketcher, x) + b * _sketch(sketcher, y)
    torch.testing.assert_close(_sketch(sketcher, a * x + b * y), both, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("size", [TOTAL, TOTAL + 1, 4096])
def test_exact_where_it_fits(size: int) -> None:
    rows = torch.randn(3, TOTAL, dtype=torch.float64)
    sketcher = _sketcher(size)
    assert sketcher.is_exact
    assert sketcher.size == TOTAL
    assert torch.equal(_sketch(sketcher, rows), rows)


@pytest.mark.parametrize("cosine", [0.0, -0.8])
def test_unbiased_with_the_spread_of_theory(cosine: float) -> None:
    torch.manual_seed(0)
    size, seeds = 256, 400
    x = nn.functional.normalize(torch.randn(TOTAL, dtype=torch.float64), dim=0)
    other = torch.randn(TOTAL, dtype=torch.float64)
    other = nn.functional.normalize(other - (other @ x) * x, dim=0)
    y = cosine * x + (1 - cosine**2) ** 0.5 * other
    found = torch.stack(
        [torch.prod(_sketch(_sketcher(size, s), torch.stack([x, y])), 0).sum() for s in range(seeds)]
    )
    spread = ((1 + cosine**2) / 251) ** 0.5  # 251 is the largest prime below 256
    assert float(found.mean()) == pytest.approx(cosine, abs=4 * spread / seeds**0.5)
    assert float(found.std()) == pytest.approx(spread, rel=0.2)


def test_parameters_side_by_side_do_not_share_signs() -> None:
    torch.manual_seed(0)
    row = torch.randn(1, 500, dtype=torch.float64)
    sketcher = Sketcher({"a": 500, "b": 500}, 100)
    cosine = torch.cosine_similarity(sketcher.of("a", row), sketcher.of("b", row))
    assert abs(float(cosine)) < 0.5


def test_seeds_differ_and_repeat() -> None:
    rows = torch.randn(1, TOTAL, dtype=torch.float64)
    one, again, other = (_sketch(_sketcher(128, seed), rows) for seed in (0, 0, 1))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


@pytest.fixture(scope="module")
def problem() -> tuple[nn.Module, list[tuple[torch.Tensor, torch.Tensor]]]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(40, 90), nn.ReLU(), nn.Linear(90, 50), nn.ReLU(), nn.Linear(50, 8))
    return model, [(torch.randn(400, 40) + 0.3, torch.arange(400) % 8)]


def _cosines(gram: np.ndarray) -> np.ndarray:
    norm = np.sqrt(np.diagonal(gram))
    return (gram / np.outer(norm, norm))[np.triu_indices(len(gram), 1)]


@pytest.mark.parametrize("size", [64, 256, 1024, 4096])
@pytest.mark.parametrize("group", ["backbone", "0", "2"])
def test_sketched_class_gradients_are_close_to_the_exact_ones(
    size: int, group: str, problem: tuple[nn.Module, list[tuple[torch.Tensor, torch.Tensor]]]
) -> None:
    model, data = problem
    exact, found = (class_gradients(model, data, sketch=s) for s in (0, size))
    assert found.rows == {}
    assert exact.sketch is None
    error = _cosines(found.gram(group)) - _cosines(exact.gram(group))
    assert np.sqrt((error**2).mean()) < 2 / np.sqrt(size)
    assert np.abs(error).max() < 5 / np.sqrt(size)
    np.testing.assert_allclose(found.norms(group), exact.norms(group), rtol=6 / np.sqrt(size))
    np.testing.assert_allclose(found.block([1, 3], [0], group), found.gram(group)[[1, 3]][:, [0]], rtol=1e-5)


def test_sketches_are_said_and_measure_along_a_direction(
    problem: tuple[nn.Module, list[tuple[torch.Tensor, torch.Tensor]]],
) -> None:
    model, data = problem
    exact, found = class_gradients(model, data, sketch=0), class_gradients(model, data, sketch=2048)
    assert found.notes == ("Gradients were sketched to 2048 numbers; cosines are off by about 0.022.",)
    assert found.sketch == 2048
    mean = {name: rows.mean(0) for name, rows in exact.rows.items()}
    scale = np.linalg.norm([rows.norm() for rows in mean.values()]) * exact.norms()
    assert np.abs(found.dot(mean) - exact.dot(mean)).max() < 5 / np.sqrt(2048) * scale.max()
    one = {name: rows[3] for name, rows in exact.rows.items()}
    np.testing.assert_allclose(exact.dot(one), exact.gram()[:, 3], rtol=1e-4, atol=1e-9)


def test_a_group_that_shares_its_sketch_with_others_is_refused(
    problem: tuple[nn.Module, list[tuple[torch.Tensor, torch.Tensor]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, data = problem
    monkeypatch.setattr("tailgrad.interference.totals._PIECES_BYTES", 0)
    found = class_gradients(model, data, sketch=64)
    assert found.gram("backbone").shape == (8, 8)
    with pytest.raises(
        InputError, match="group must be one that the sketch keeps apart, got '0'; choose from"
    ):
        found.gram("0")
    with pytest.raises(
        InputError, match="group must be a group, block or layer, got 'backbones'.*'backbone'"
    ):
        found.gram("backbones")
