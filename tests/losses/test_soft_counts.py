import pytest
import torch

from tailgrad.losses.soft_counts import f1_loss, rows

P = torch.tensor([[0.7, 0.2, 0.1], [0.3, 0.6, 0.1], [0.2, 0.3, 0.5]])


def test_worked_numbers_of_each_class() -> None:
    for k, expected in enumerate([0.636364, 0.571429, 0.588235]):
        # Only class k is counted: the others hold neither probability nor labels.
        found = torch.zeros_like(P)
        found[:, k] = P[:, k]
        actual = torch.zeros(3, 3)
        actual[k, k] = 1
        assert 1 - f1_loss(found, actual, 0.0, "mean").item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("smoothing", [0.0, 1e-4])
def test_classes_of_neither_side_are_skipped(reduction: str, smoothing: float) -> None:
    wider = torch.cat([P, torch.zeros(3, 2)], 1).requires_grad_()
    found = f1_loss(wider, torch.arange(3), smoothing, reduction)
    torch.testing.assert_close(found, f1_loss(P, torch.arange(3), smoothing, reduction))
    found.backward()
    assert wider.grad is not None
    assert torch.isfinite(wider.grad).all()


def test_a_batch_in_which_no_class_is_there_costs_nothing() -> None:
    found = torch.full((4, 3), 1e-9, requires_grad=True)
    value = f1_loss(found, torch.zeros(4, 3), 0.0, "mean")
    value.backward()
    assert value.item() == 0
    assert found.grad is not None
    assert not found.grad.any()


def test_rows_of_either_target() -> None:
    torch.testing.assert_close(rows(torch.tensor([2, 0]), 3, P.dtype), torch.eye(3)[[2, 0]])
    torch.testing.assert_close(rows(P.double(), 3, P.dtype), P)
