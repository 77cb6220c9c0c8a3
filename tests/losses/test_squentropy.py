import pytest
import torch
from torch.nn import functional as F

from tailgrad.checks import InputError
from tailgrad.losses import SquentropyLoss

LOGITS = torch.tensor([[2.0, 1.0, 0.0]] * 3, dtype=torch.float64)
TARGET = torch.arange(3)


def test_worked_numbers() -> None:
    losses = SquentropyLoss(reduction="none")(LOGITS, TARGET)
    assert losses.tolist() == pytest.approx([0.907606, 3.407606, 4.907606], abs=1e-6)


def test_equals_its_definition_and_is_not_invariant_to_shifts() -> None:
    torch.manual_seed(0)
    logits, target = torch.randn(8, 5).double(), torch.randint(5, (8,))
    others = logits.square().masked_fill(F.one_hot(target, 5).bool(), 0).sum(1) / 4
    each = SquentropyLoss(reduction="none")(logits, target)
    torch.testing.assert_close(each, F.cross_entropy(logits, target, reduction="none") + others)
    assert SquentropyLoss()(logits + 1, target) != SquentropyLoss()(logits, target)


def test_a_huge_own_logit_hides_nothing() -> None:
    logits = torch.tensor([[1e4, 3.0]])
    assert SquentropyLoss()(logits, torch.tensor([0])).item() == 9


def test_one_class_is_refused() -> None:
    with pytest.raises(InputError, match="at least 2 classes, got 1"):
        SquentropyLoss()(torch.zeros(1, 1), torch.tensor([0]))
