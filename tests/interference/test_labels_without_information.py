"""Where labels say nothing about the inputs the excess lies within its interval; folds; error of the null."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tailgrad.interference import Extras, Interference, class_gradients, measure

pytestmark = pytest.mark.long

COUNTS = {"balanced": [200] * 6, "100 to 1": [1000, 398, 158, 63, 25, 10]}
PAIRS = np.triu_indices(6, 1)


def _blind(counts: list[int], steps: int, seed: int) -> tuple[nn.Module, Tensor, Tensor]:
    """A network trained for some steps on labels drawn without looking, and fresh examples."""
    torch.manual_seed(seed)
    target = torch.repeat_interleave(torch.arange(6), torch.tensor(counts))
    model = nn.Sequential(
        nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, len(counts))
    )
    seen, solver = torch.randn(2 * len(target), 10) + 0.5, torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(steps):
        solver.zero_grad()
        F.cross_entropy(model(seen), target.repeat(2)).backward()
        solver.step()
    return model, torch.randn(len(target), 10) + 0.5, target


def _beyond_noise(result: Interference) -> np.ndarray:
    assert result.excess_interval is not None
    low, high = result.excess_interval
    return ((low > 0) | (high < 0))[PAIRS]


@pytest.mark.parametrize("counts", COUNTS)
@pytest.mark.parametrize("steps", [0, 10, 60], ids=["untrained", "half-way", "trained"])
def test_nine_of_ten_intervals_hold_zero(counts: str, steps: int) -> None:
    found = []
    for seed in range(10):
        model, inputs, target = _blind(COUNTS[counts], steps, seed)
        found.append(_beyond_noise(measure(model, [(inputs, target)], seed=seed)))
    assert np.mean(found) <= 0.1


def test_information_is_beyond_noise() -> None:
    model, inputs, target = _blind(COUNTS["balanced"], 0, 0)
    moved = inputs + 4 * F.one_hot(target, 10)
    # chance alone gives at most one pair in ten
    assert _beyond_noise(measure(model, [(moved, target)])).mean() > 0.25


def test_the_error_of_the_null_is_its_spread_over_seeds() -> None:
    model, inputs, target = _blind(COUNTS["balanced"], 0, 3)
    many = [
        measure(model, [(inputs, target)], folds=0, seed=s, extras=Extras(null_examples=48))
        for s in range(30)
    ]
    errors = [result.null_error for result in many]
    assert all(error is not None for error in errors)
    spread = np.std([result.null for result in many], axis=0)[PAIRS].mean()
    expected = np.sqrt(np.mean(np.square(errors), axis=0))[PAIRS].mean()
    assert 0.6 < expected / spread < 1.7
    more = measure(model, [(inputs, target)], folds=0, extras=Extras(null_examples=96))
    assert more.null_error is not None
    assert more.null_error[PAIRS].mean() < expected


def test_without_folds_there_is_no_interval() -> None:
    model, inputs, target = _blind(COUNTS["balanced"], 0, 0)
    result = measure(model, [(inputs, target)], folds=0)
    assert result.interval is result.disattenuated is result.reliability is result.excess_interval is None


def _folded(counts: list[int], folds: int) -> tuple[np.ndarray, Tensor, Tensor]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, len(counts))).double()
    target = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    inputs = torch.randn(len(target), 5).double()
    found = class_gradients(model, [(inputs, target)], folds=folds)
    assert found.folds is not None
    assert found.folds.is_exact
    return found.folds.weights, found.folds.sketches, torch.cat(list(found.rows.values()), 1)


def test_means_of_folds_weighted_are_the_class_means() -> None:
    weights, sketches, rows = _folded([40, 17, 8, 9], 8)
    np.testing.assert_allclose(weights.sum(1), 1)
    assert (weights > 0).all()
    whole = torch.einsum("kf,kfs->ks", torch.from_numpy(weights), sketches)
    torch.testing.assert_close(whole, rows, rtol=1e-10, atol=1e-14)
    assert weights[1].max() == pytest.approx(3 / 17)


def test_a_class_of_fewer_examples_than_folds_has_one_fold_an_example() -> None:
    weights, sketches, rows = _folded([40, 3, 1], 8)
    assert sorted(weights[1]) == pytest.approx([0] * 5 + [1 / 3] * 3)
    assert sorted(weights[2]) == [0] * 7 + [1]
    assert not sketches[torch.from_numpy(weights == 0)].any()
    torch.testing.assert_close(sketches[2][weights[2].argmax()], rows[2], rtol=1e-10, atol=0)


def test_squares_of_folds_are_their_squared_lengths() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(40, 60), nn.Tanh(), nn.Linear(60, 3))
    data = [(torch.randn(60, 40), torch.arange(60) % 3)]
    folds = class_gradients(model, data, folds=4).folds
    assert folds is not None
    assert not folds.is_exact
    assert folds.sketches.shape == (3, 4, 1024)
    np.testing.assert_allclose(folds.squares, folds.sketches.double().norm(dim=2) ** 2, rtol=1e-12)


def test_a_class_of_one_example_cannot_be_told_from_noise() -> None:
    model, inputs, target = _blind([200, 200, 100, 100, 20, 1], 0, 0)
    result = measure(model, [(inputs, target)])
    assert result.disattenuated is not None
    assert np.isnan(result.disattenuated[5]).all()
    assert np.isfinite(result.conflict).all()
    assert np.isfinite(result.disattenuated[:4, :4]).all()
