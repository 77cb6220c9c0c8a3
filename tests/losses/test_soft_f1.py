import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from tailgrad.losses import SoftF1Loss

ROWS = torch.tensor([[0.7, 0.2, 0.1], [0.3, 0.6, 0.1], [0.2, 0.3, 0.5]], dtype=torch.float64)


def test_worked_numbers() -> None:
    found = SoftF1Loss()(ROWS.log(), torch.arange(3))
    assert 1 - found.item() == pytest.approx(0.598676, abs=1e-6)
    torch.testing.assert_close(SoftF1Loss(reduction="sum")(ROWS.log(), torch.arange(3)), 3 * found)


@given(st.integers(0, 1000), st.integers(1, 12))
def test_hard_predictions_give_macro_f1(seed: int, n: int) -> None:
    torch.manual_seed(seed)
    found, target = torch.randint(5, (n,)), torch.randint(5, (n,))
    logits = 1e4 * torch.nn.functional.one_hot(found, 5).double()
    # scikit-learn too leaves out classes that are neither predicted nor true.
    expected = f1_score(target.numpy(), found.numpy(), average="macro")
    assert 1 - SoftF1Loss()(logits, target).item() == pytest.approx(expected)
    assert SoftF1Loss()(1e4 * torch.nn.functional.one_hot(target, 5).double(), target).item() == 0


def test_soft_targets_enter_the_counts() -> None:
    soft = torch.tensor([[0.5, 0.5, 0.0]] * 3, dtype=torch.float64)
    scores = 2 * (ROWS * soft).sum(0) / (ROWS.sum(0) + soft.sum(0))
    torch.testing.assert_close(SoftF1Loss()(ROWS.log(), soft), 1 - scores.mean())
