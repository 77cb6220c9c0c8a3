"""Contributions against real SGD steps, weighted losses against PyTorch's, logit pulls against a loop."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from tailgrad.checks import InputError
from tailgrad.interference.contributions import contributions, logit_pull, remainder, shares
from tailgrad.interference.update import Update

COUNTS = [15, 8, 6, 1]
WEIGHTS = [0.2, 1.0, 1.5, 9.0]
Net = tuple[nn.Module, Tensor, Tensor]
Brute = Callable[..., dict[str, Tensor]]


def _loss(model: nn.Module, inputs: Tensor, target: Tensor, weighting: str) -> Tensor:
    weight = torch.tensor(WEIGHTS, dtype=torch.float64)
    if weighting == "mean":
        return F.cross_entropy(model(inputs), target, weight)
    return (F.cross_entropy(model(inputs), target, reduction="none") * weight[target]).mean()


def _class_losses(model: nn.Module, inputs: Tensor, target: Tensor) -> Tensor:
    each = F.cross_entropy(model(inputs), target, reduction="none")
    return torch.stack([each[target == k].mean() for k in range(4)]).detach()


@pytest.mark.parametrize("weighting", ["mean", "batch"])
def test_rows_add_up_to_the_product_with_a_real_sgd_step(
    network: Net, brute_force: Brute, weighting: str
) -> None:
    model, inputs, target = network
    model.eval()
    rows = torch.cat(list(brute_force(model, inputs, target).values()), 1)
    table = contributions((rows @ rows.T).numpy(), COUNTS, WEIGHTS, weighting)
    lr = 1e-6
    before, start = _class_losses(model, inputs, target), copy_of(model)
    optimizer = torch.optim.SGD(model.parameters(), lr)
    _loss(model, inputs, target, weighting).backward()
    optimizer.step()
    delta = torch.cat([(a - b).flatten() for a, b in zip(start, copy_of(model), strict=True)])
    products = (rows @ delta).numpy()
    np.testing.assert_allclose(table.sum(1), products / lr, rtol=1e-6)
    np.testing.assert_allclose(remainder(products, table, lr), 0, atol=1e-6 * np.abs(table).max())
    change = _class_losses(model, inputs, target) - before
    np.testing.assert_allclose(-lr * table.sum(1), change, rtol=0.05)


def copy_of(model: nn.Module) -> list[Tensor]:
    return [p.detach().clone() for p in model.parameters()]


def test_one_class_alone_moves_the_others_by_its_column(network: Net, brute_force: Brute) -> None:
    model, inputs, target = network
    model.eval()
    rows = brute_force(model, inputs, target)
    whole = torch.cat(list(rows.values()), 1)
    table = contributions((whole @ whole.T).numpy(), COUNTS)
    eta = 1e-6
    for j in range(4):
        before = _class_losses(model, inputs, target)
        start = copy_of(model)
        with torch.no_grad():
            for p, own in zip(model.parameters(), rows.values(), strict=True):
                p -= eta * COUNTS[j] / 30 * own[j].reshape(p.shape)
            change = _class_losses(model, inputs, target) - before
            for p, old in zip(model.parameters(), start, strict=True):
                p.copy_(old)
        np.testing.assert_allclose(-eta * table[:, j], change, rtol=0.05, atol=1e-10)


def test_remainder_is_what_momentum_and_decay_add(network: Net, brute_force: Brute) -> None:
    model, inputs, target = network
    model.eval()
    rows = torch.cat(list(brute_force(model, inputs, target).values()), 1)
    table = contributions((rows @ rows.T).numpy(), COUNTS)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=0.3)
    carried = [torch.randn_like(p) for p in model.parameters()]
    for p, momentum in zip(model.parameters(), carried, strict=True):
        optimizer.state[p]["momentum_buffer"] = momentum.clone()
    update = Update.of_step(model, optimizer, lambda m: F.cross_entropy(m(inputs), target))
    delta = torch.cat([change.flatten() for change in update.delta.values()])
    added = torch.cat(
        [(0.9 * m + 0.3 * p.detach()).flatten() for m, p in zip(carried, model.parameters(), strict=True)]
    )
    np.testing.assert_allclose(remainder((rows @ delta).numpy(), table, 0.01), rows @ added, rtol=1e-8)


@settings(max_examples=40, deadline=None)
@given(
    counts=st.lists(st.integers(0, 50), min_size=2, max_size=8).filter(lambda c: sum(c) > 0),
    scale=st.floats(0.01, 100),
)
def test_shares_add_up_to_one_and_ignore_the_scale_of_the_weights(counts: list[int], scale: float) -> None:
    weights = np.linspace(0.5, 3, len(counts))
    np.testing.assert_allclose(shares(counts).sum(), 1)
    np.testing.assert_allclose(shares(counts, scale * weights), shares(counts, weights), rtol=1e-12)
    np.testing.assert_allclose(
        shares(counts, scale * weights, "batch"), scale * shares(counts, weights, "batch"), rtol=1e-12
    )


def test_inverse_weights_give_every_class_the_same_share() -> None:
    counts = np.array([1000, 100, 7])
    np.testing.assert_allclose(shares(counts, 1 / counts), 1 / 3)


def test_an_absent_class_is_unknown_in_its_row_and_zero_in_its_column() -> None:
    gram = np.array([[2.0, -1.0, np.nan], [-1.0, 3.0, np.nan], [np.nan, np.nan, np.nan]])
    table = contributions(gram, [3, 1, 0])
    assert np.isnan(table[2]).all()
    np.testing.assert_allclose(table[:2], [[1.5, -0.25, 0], [-0.75, 0.75, 0]])


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (
            lambda: contributions(np.eye(3), [1, 1]),
            r"gram must be \[K, K\] for the 2 classes .* got shape \[3, 3\]",
        ),
        (lambda: shares([1, -1]), r"counts must be one number a class, 0 or more, got \[1, -1\]"),
        (lambda: shares([[1], [2]]), "counts must be one number a class"),
        (lambda: shares([0, 0]), r"must hold an example with a weight, got \[0.0, 0.0\]"),
        (lambda: shares([1, 2], [1]), "class_weights must hold one number a class, got 1 for 2 classes"),
        (lambda: shares([1, 2], [1, float("nan")]), "class_weights must be one number a class, 0 or more"),
        (lambda: shares([1, 2], weighting="sum"), "weighting must be a known name, got 'sum'"),
        (lambda: remainder(np.ones(2), np.eye(2), 0.0), r"lr must be in \(0, inf\), got 0.0"),
        (lambda: logit_pull(torch.ones(2, 3), torch.ones(3)), r"got shapes \[2, 3\] and \[3\]"),
        (lambda: logit_pull(torch.ones(2, 3), torch.ones(2)), "torch.float32"),
    ],
)
def test_bad_input(call: Callable[[], object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        call()


def test_logit_pulls_are_summed_by_class_and_add_over_batches() -> None:
    torch.manual_seed(0)
    logits, target = torch.randn(20, 4, dtype=torch.float64, requires_grad=True), torch.arange(20) % 3
    F.cross_entropy(logits, target, reduction="sum").backward()
    expected = np.zeros((2, 4))
    for row, label in zip(logits.softmax(1).detach().numpy(), target.tolist(), strict=True):
        for k in range(4):
            expected[int(k != label), k] += 1 - row[k] if k == label else row[k]
    whole = logit_pull(logits.grad, target)
    parts = logit_pull(logits.grad[:7], target[:7]) + logit_pull(logits.grad[7:], target[7:])
    for pull in (whole, parts):
        np.testing.assert_allclose([pull.own, pull.others], expected, rtol=1e-12)
    np.testing.assert_allclose(whole.ratio, expected[0] / expected[1], rtol=1e-12)
    assert np.isnan(logit_pull(torch.eye(1), torch.tensor([0])).ratio[0])


def test_the_pulls_of_cross_entropy_balance_where_the_bias_has_learnt_the_prior() -> None:
    target = torch.tensor([0] * 30 + [1] * 9 + [2])
    gradient = torch.tensor([30.0, 9, 1]).div(40).expand(40, 3) - F.one_hot(target, 3)
    np.testing.assert_allclose(logit_pull(gradient, target).ratio, 1, rtol=1e-6)
