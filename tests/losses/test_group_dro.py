import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from tailgrad.losses import CrossEntropyLoss, GroupDROLoss, frozen

COUNTS = [6, 3, 1]


def _batch(seed: int, target: Tensor) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(len(target), 3, generator=generator, dtype=torch.float64), target


def _class_losses(logits: Tensor, target: Tensor) -> list[float]:
    each = F.cross_entropy(logits, target, reduction="none")
    return [each[target == k].mean().item() if (target == k).any() else 0.0 for k in range(3)]


@given(st.integers(0, 1000), st.floats(0, 2), st.lists(st.integers(0, 2), min_size=1, max_size=9))
def test_two_steps_follow_the_definition(seed: int, eta: float, labels: list[int]) -> None:
    loss, q = GroupDROLoss(COUNTS, eta_q=eta).double(), [1 / 3] * 3
    for step in range(2):
        logits, target = _batch(seed + step, torch.tensor(labels))
        means = _class_losses(logits, target)
        q = [a * math.exp(eta * b) for a, b in zip(q, means, strict=True)]
        q = [a / sum(q) for a in q]
        expected = sum(a * b for a, b in zip(q, means, strict=True))
        assert loss(logits, target).item() == pytest.approx(expected, rel=1e-6)
        assert loss.q.tolist() == pytest.approx(q, rel=1e-6)


def test_without_a_step_it_is_class_balanced() -> None:
    batch = _batch(0, torch.tensor([0] * 6 + [1] * 3 + [2]))
    balanced = CrossEntropyLoss(COUNTS, weights="inverse")(*batch)
    loss = GroupDROLoss(COUNTS, eta_q=0.0)
    torch.testing.assert_close(loss(*batch), balanced, rtol=1e-6, atol=0)
    correction = loss.correction()
    assert correction is not None
    assert correction.kind == "weight"
    assert correction.log_shift == pytest.approx([math.log(10 / (3 * n)) for n in COUNTS], abs=1e-6)


def test_weight_goes_to_the_worst_class_and_stays_finite() -> None:
    loss = GroupDROLoss(COUNTS, eta_q=1.0)
    logits = torch.zeros(3, 3)
    logits[2, 2] = -1e4
    for _ in range(5):
        value = loss(logits, torch.arange(3))
    assert loss.q.tolist() == pytest.approx([0, 0, 1])
    assert value.item() == pytest.approx(1e4, rel=1e-3)
    assert torch.isfinite(loss.log_q).all()


def test_each_example_carries_its_part() -> None:
    logits, target = _batch(1, torch.tensor([0, 0, 1, 2, 2]))
    losses = {r: GroupDROLoss(COUNTS, reduction=r)(logits, target) for r in ("none", "mean", "sum")}
    torch.testing.assert_close(losses["none"].mean(), losses["mean"])
    torch.testing.assert_close(losses["none"].sum(), losses["sum"])
    halves = torch.eye(3, dtype=torch.float64)[target]
    torch.testing.assert_close(GroupDROLoss(COUNTS)(logits, halves), losses["mean"])


def test_outside_training_an_example_does_not_depend_on_the_others() -> None:
    loss = GroupDROLoss(COUNTS, eta_q=0.5, reduction="none").double()
    logits, target = _batch(3, torch.tensor([0] * 6 + [1] * 3 + [2]))
    loss(logits, target)
    trained = loss(logits, target)
    loss.eval()
    found = loss(logits, target)
    alone = torch.cat([loss(logits[i : i + 1], target[i : i + 1]) for i in range(10)])
    torch.testing.assert_close(found, alone)
    expected = sum(q * x for q, x in zip(loss.q.tolist(), _class_losses(logits, target), strict=True))
    assert found.mean().item() == pytest.approx(expected), "this batch has the shares of the training data"
    torch.testing.assert_close(found, trained)


def test_state_moves_in_training_steps_only_and_survives_bad_losses() -> None:
    loss = GroupDROLoss(COUNTS, eta_q=0.5)
    batch = _batch(2, torch.tensor([0, 1, 2]))
    with frozen(loss):
        loss(*batch)
    with torch.no_grad():
        loss(*batch)
    assert loss.q.tolist() == pytest.approx([1 / 3] * 3)
    loss(batch[0] * math.nan, batch[1])
    assert torch.isfinite(loss.log_q).all()
    loss(*batch)
    other = GroupDROLoss(COUNTS, eta_q=0.5)
    other.load_state_dict(loss.state_dict())
    assert torch.equal(loss(*batch), other(*batch))
