"""Class gradients of a batch by masked backward passes."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from tailgrad.checks import InputError
from tailgrad.interference.masked import masked_gradients

X = torch.linspace(-1, 1, 40, dtype=torch.float64).reshape(8, 5)
Y = torch.tensor([3, 0, 0, 1, 3, 0, 0, 0])


def _net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 4)).double().train()


def _losses(net: nn.Module, target: Tensor = Y) -> Tensor:
    return F.cross_entropy(net(X), target, reduction="none")


def _flat(loss: Tensor, parameters: list[Tensor]) -> Tensor:
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, parameters)])


@settings(max_examples=20, deadline=None)
@given(labels=st.lists(st.integers(0, 3), min_size=8, max_size=8))
def test_each_row_is_the_gradient_of_its_class_alone(labels: list[int]) -> None:
    net, target = _net(), torch.tensor(labels)
    parameters = list(net.parameters())
    rows, classes = masked_gradients(_losses(net, target), target, parameters)
    assert classes.tolist() == sorted(set(labels))
    for row, label in zip(rows, classes, strict=True):
        alone = _flat(_losses(net, target)[target == label].mean(), parameters)
        torch.testing.assert_close(row, alone, rtol=0, atol=1e-12)


def test_rows_add_up_to_the_batch_gradient_through_batch_norm() -> None:
    net = _net()
    parameters = list(net.parameters())
    rows, classes = masked_gradients(_losses(net), Y, parameters)
    shares = (Y[:, None] == classes).double().mean(0)
    torch.testing.assert_close(shares @ rows, _flat(_losses(net).mean(), parameters), rtol=0, atol=1e-12)


def test_the_graph_is_freed_unless_kept() -> None:
    net = _net()
    parameters = list(net.parameters())
    losses = _losses(net)
    first = masked_gradients(losses, Y, parameters, retain_graph=True)[0]
    assert torch.equal(masked_gradients(losses, Y, parameters)[0], first)
    with pytest.raises(RuntimeError, match="second time"):
        masked_gradients(losses, Y, parameters)


def test_grad_fields_and_parameters_stay_untouched() -> None:
    net = _net()
    masked_gradients(_losses(net), Y, list(net.parameters()))
    assert all(p.grad is None for p in net.parameters())


def test_an_unused_parameter_gives_zeros() -> None:
    net, spare = _net(), torch.ones(3, dtype=torch.float64, requires_grad=True)
    rows, _ = masked_gradients(_losses(net), Y, [*net.parameters(), spare])
    assert rows[:, -3:].abs().max() == 0
    assert rows[:, :-3].abs().max() > 0


def test_half_precision_parameters_give_float32_rows() -> None:
    w = torch.ones(5, dtype=torch.bfloat16, requires_grad=True)
    rows, _ = masked_gradients((X.bfloat16() @ w).float(), Y, [w])
    assert rows.dtype == torch.float32


def test_sparse_gradients_are_made_dense() -> None:
    table = nn.Embedding(4, 2, sparse=True)
    rows, _ = masked_gradients(table(torch.tensor([0, 1, 1])).sum(1), torch.tensor([0, 0, 1]), [table.weight])
    assert rows.tolist() == [[0.5, 0.5, 0.5, 0.5, 0, 0, 0, 0], [0, 0, 1, 1, 0, 0, 0, 0]]


def _with_nan(losses: Tensor) -> Tensor:
    return losses * torch.tensor([1, 1, float("nan"), 1, 1, 1, 1, 1], dtype=torch.float64)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda losses: losses.mean(), r"losses must be one number an example \[N\], got \[\]; use red"),
        (lambda losses: losses[:, None], r"losses must be one number an example \[N\], got \[8, 1\]"),
        (lambda losses: losses[:0], r"got \[0\]"),
        (lambda losses: losses.tolist(), "got list"),
        (lambda losses: losses.detach(), "losses must have a graph, got 8 numbers without one"),
        (_with_nan, r"losses must be finite, got losses\[2\]=nan"),
    ],
)
def test_unfit_losses_are_refused(spoil: Callable[[Tensor], Tensor], message: str) -> None:
    net = _net()
    with pytest.raises(InputError, match=message):
        masked_gradients(spoil(_losses(net)), Y, list(net.parameters()))


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (Y[:5], r"target must be class indices \[8\], one for each loss, got torch.int64 \[5\]"),
        (F.one_hot(Y, 4).double(), r"got torch.float64 \[8, 4\]; class gradients need whole labels"),
        (Y.double(), "got torch.float64"),
        (Y > 0, "got torch.bool"),
        (Y - 1, "target must be at least 0, got -1"),
    ],
)
def test_unfit_targets_are_refused(target: Tensor, message: str) -> None:
    net = _net()
    with pytest.raises(InputError, match=message):
        masked_gradients(_losses(net), target, list(net.parameters()))


def test_there_must_be_something_to_differentiate_by() -> None:
    net = _net()
    with pytest.raises(InputError, match="parameters must hold at least one tensor, got none"):
        masked_gradients(_losses(net), Y, [])
    with pytest.raises(InputError, match=r"parameters\[1\] of shape \[2\] which does not"):
        masked_gradients(_losses(net), Y, [next(net.parameters()), torch.zeros(2)])
