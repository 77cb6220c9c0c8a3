import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch import Tensor
from torch.nn import functional as F

from tailgrad.checks import InputError
from tailgrad.posthoc import AffineGroupCorrection

COUNTS = [50, 5, 40, 4, 30, 3]


def _data(n: int = 600) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    target = torch.tensor(COUNTS).float().multinomial(n, True, generator=generator)
    logits = torch.randn(n, 6, generator=generator).double()
    logits[torch.arange(n), target] += 1.5
    logits[:, [1, 3, 5]] = 0.5 * logits[:, [1, 3, 5]] - 2
    return logits, target


def _loss(parameters: np.ndarray, logits: Tensor, target: Tensor) -> float:
    changed = logits.clone()
    changed[:, [1, 3, 5]] = parameters[0] * changed[:, [1, 3, 5]] + parameters[1]
    weight = 1 / target.bincount().double()
    return F.cross_entropy(changed, target, weight).item()


@pytest.mark.parametrize("constant", [0.0, 30.0])
def test_finds_the_likeliest_line(constant: float) -> None:
    logits, target = _data()
    logits = logits + constant
    method = AffineGroupCorrection(COUNTS, tail=0.5).fit(logits, target)
    found = np.array([method.scale.item(), method.offset.item()])
    expected = minimize(
        _loss, found * 1.05, (logits, target), "Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-12}
    )
    assert _loss(found, logits, target) <= expected.fun + 1e-6
    np.testing.assert_allclose(found[0], expected.x[0], atol=5e-3)
    assert _loss(found, logits, target) < _loss(np.array([1.0, 0.0]), logits, target) - 0.1


def test_only_tail_classes_change() -> None:
    logits, target = _data()
    method = AffineGroupCorrection(COUNTS, tail=0.5).fit(logits, target)
    changed = method.transform(logits)
    assert torch.equal(changed[:, [0, 2, 4]], logits[:, [0, 2, 4]])
    expected = method.scale.item() * logits[:, [1, 3, 5]] + method.offset.item()
    torch.testing.assert_close(changed[:, [1, 3, 5]], expected)


def test_correction_is_the_gain_at_the_level_of_decisions() -> None:
    logits, target = _data()
    method = AffineGroupCorrection(COUNTS, tail=0.5).fit(logits, target)
    level = logits.max(1).values.mean().item()
    gain = method.scale.item() * level + method.offset.item() - level
    shift = method.correction().log_shift
    assert shift == pytest.approx([0, -gain, 0, -gain, 0, -gain], abs=1e-4)
    moved = AffineGroupCorrection(COUNTS, tail=0.5).fit(logits + 30, target)
    assert moved.correction().log_shift == pytest.approx(shift, abs=1e-3)


@pytest.mark.parametrize(
    ("tail", "members"),
    [(1 / 3, [3, 5]), (0.5, [1, 3, 5]), (0.01, [5]), (0.99, [1, 2, 3, 4, 5]), ([0, 2], [0, 2])],
)
def test_tail_classes(tail: float | list[int], members: list[int]) -> None:
    method = AffineGroupCorrection(COUNTS, tail=tail)
    assert method.tail.nonzero().flatten().tolist() == members


def test_groups_that_part_without_an_error_stay_finite() -> None:
    method = AffineGroupCorrection([9, 1]).fit(torch.tensor([[9.0, 0.0], [0.0, 9.0]]), torch.tensor([0, 1]))
    assert torch.isfinite(method.transform(torch.tensor([[5.0, 4.0]]))).all()


@pytest.mark.parametrize("classes", [[0, 0], [5, 3]])
def test_held_out_data_must_hold_both_groups(classes: list[int]) -> None:
    with pytest.raises(InputError, match=r"got \d of 2"):
        AffineGroupCorrection(COUNTS).fit(torch.zeros(2, 6), torch.tensor(classes))
