import math

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tailgrad.losses import EncouragingLoss

LOGITS = torch.tensor([[2.0, 1.0, 0.0]] * 3, dtype=torch.float64)


def _value(p: float, le: float) -> tuple[float, float]:
    """Loss and derivative in p of one example whose true class has probability p."""
    own = torch.tensor([p], dtype=torch.float64, requires_grad=True)
    logits = torch.stack([own.log(), (1 - own).log()], 1)
    loss = EncouragingLoss(le=le)(logits, torch.tensor([0]))
    loss.backward()
    assert own.grad is not None
    return loss.item(), own.grad.item()


def test_worked_numbers() -> None:
    losses = EncouragingLoss(le=1, reduction="none")(LOGITS, torch.arange(3))
    assert losses.tolist() == pytest.approx([-0.686738, 1.126928, 2.313262], abs=1e-6)
    assert EncouragingLoss(le=0.5)(LOGITS[:1], torch.tensor([0])).item() == pytest.approx(-0.616023, abs=1e-6)
    assert _value(0.9, 0.75)[0] == pytest.approx(-1.880934, abs=1e-6)


@given(st.floats(0.01, 0.99), st.floats(0.05, 0.95))
@example(0.5, 0.5)
def test_equals_its_definition(p: float, le: float) -> None:
    bonus = math.log(1 - p) if p <= le else math.log(1 - le) - (p - le) / (1 - le)
    slope = -1 / (1 - min(p, le))
    value, derivative = _value(p, le)
    assert value == pytest.approx(-math.log(p) + bonus)
    assert derivative == pytest.approx(-1 / p + slope)


@pytest.mark.parametrize("le", [0.25, 0.5, 0.75, 0.9])
def test_value_and_slope_are_continuous_where_the_tangent_begins(le: float) -> None:
    before, after = _value(le - 1e-7, le), _value(le + 1e-7, le)
    assert before == pytest.approx(after, rel=1e-5, abs=1e-6)


def test_near_zero_the_slope_is_that_of_cross_entropy() -> None:
    assert _value(1e-6, 0.75)[1] * 1e-6 == pytest.approx(-1, abs=1e-5)


def test_without_tangent_the_value_stops() -> None:
    sure = torch.tensor([[100.0, 0.0]], requires_grad=True)
    loss = EncouragingLoss(le=1)(sure, torch.tensor([0]))
    loss.backward()
    assert loss.item() == pytest.approx(math.log(1e-5))
    assert sure.grad is not None
    assert sure.grad.abs().max() < 1e-30
