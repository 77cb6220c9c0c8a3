"""Exactness: equality with one backward pass an example, additivity, and the closed forms."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from tailgrad.interference import class_gradients, measure

Net = tuple[nn.Module, Tensor, Tensor]
Brute = Callable[..., dict[str, Tensor]]


def _cosines(rows: Tensor) -> np.ndarray:
    unit = F.normalize(rows, eps=0)
    return (unit @ unit.T).detach().numpy()


def _split(inputs: Tensor, target: Tensor, size: int) -> list[tuple[Tensor, Tensor]]:
    return list(zip(inputs.split(size), target.split(size), strict=True))


def test_conflict_equals_brute_force(network: Net, brute_force: Brute) -> None:
    model, inputs, target = network
    expected = brute_force(model, inputs, target)
    result = measure(model, _split(inputs, target, 7))
    whole = torch.cat(list(expected.values()), 1)
    head = torch.cat([g for name, g in expected.items() if name.split(".")[0] in ("head", "9", "5")][-2:], 1)
    backbone = torch.cat(list(expected.values())[:-2], 1)
    for rows, group in ((whole, "all"), (head, "head"), (backbone, "backbone")):
        np.testing.assert_allclose(result.groups[group], _cosines(rows), rtol=0, atol=1e-10)
    np.testing.assert_array_equal(result.conflict, result.groups["backbone"])
    np.testing.assert_allclose(result.norms, backbone.norm(dim=1), rtol=1e-10)


def test_every_layer_equals_brute_force(network: Net, brute_force: Brute) -> None:
    model, inputs, target = network
    expected = brute_force(model, inputs, target)
    result = measure(model, _split(inputs, target, 7))
    covered = []
    for layer, conflict in result.layers.items():
        own = [n for n in expected if (n.rpartition(".")[0] or "(model)") == layer]
        rows = torch.cat([expected[n] for n in own], 1)
        np.testing.assert_allclose(conflict, _cosines(rows), rtol=0, atol=1e-10)
        rms = rows.square().mean(1).sqrt()
        np.testing.assert_allclose(result.layer_norms[layer], rms, rtol=1e-10)
        covered += own
    assert covered == list(expected)


def test_losses_and_counts(network: Net) -> None:
    model, inputs, target = network
    result = measure(model, _split(inputs, target, 11))
    with torch.no_grad():
        losses = F.cross_entropy(model.eval()(inputs), target, reduction="none")
    np.testing.assert_allclose(result.loss, [losses[target == k].mean() for k in range(4)], rtol=1e-12)
    np.testing.assert_array_equal(result.counts, torch.bincount(target))


def test_class_gradients_add_up_to_the_gradient_of_the_mean_loss(network: Net) -> None:
    model, inputs, target = network
    gradients = class_gradients(model, [(inputs, target)], parameters="all")
    parameters = dict(model.eval().named_parameters())
    mean = torch.autograd.grad(F.cross_entropy(model(inputs), target), list(parameters.values()))
    prior = torch.from_numpy(gradients.counts / gradients.counts.sum())
    assert list(gradients.rows) == list(parameters)
    for rows, expected in zip(gradients.rows.values(), mean, strict=True):
        torch.testing.assert_close(prior @ rows, expected.flatten(), rtol=1e-10, atol=1e-13)


def test_norms_of_layers_add_up_to_the_whole(network: Net) -> None:
    model, inputs, target = network
    result = measure(model, [(inputs, target)], "all")
    sizes = dict.fromkeys(result.layers, 0)
    for name, p in model.named_parameters():
        sizes[name.rpartition(".")[0] or "(model)"] += p.numel()
    squares = sum(sizes[name] * norms**2 for name, norms in result.layer_norms.items())
    np.testing.assert_allclose(np.sqrt(squares), result.norms, rtol=1e-10)


def test_criterion_is_differentiated(network: Net, brute_force: Brute) -> None:
    model, inputs, target = network
    brier = lambda z, t: (z.softmax(1) - F.one_hot(t, 4)).square().sum(1)  # noqa: E731
    result = measure(model, [(inputs, target)], "all", criterion=brier)
    model.eval()
    rows = []
    for k in range(4):
        loss = (model(inputs[target == k]).softmax(1) - torch.eye(4)[k]).square().sum(1).mean()
        rows.append(torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))]))
    np.testing.assert_allclose(result.conflict, _cosines(torch.stack(rows)), rtol=0, atol=1e-10)


@settings(max_examples=20, deadline=None)
@given(
    counts=st.lists(st.integers(0, 6), min_size=2, max_size=6).filter(lambda c: sum(n > 0 for n in c) > 1),
    size=st.integers(1, 9),
    seed=st.integers(0, 99),
)
def test_a_gram_of_unit_vectors_whatever_the_labels(counts: list[int], size: int, seed: int) -> None:
    torch.manual_seed(seed)
    num_classes = len(counts)
    model = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, num_classes)).double()
    target = torch.repeat_interleave(torch.arange(num_classes), torch.tensor(counts))
    order = torch.randperm(len(target))
    inputs, target = torch.randn(len(target), 3, dtype=torch.float64), target[order]
    result = measure(model, _split(inputs, target, size))
    seen = np.array(counts) > 0
    assert (np.isnan(result.conflict) == ~np.outer(seen, seen)).all()
    block = result.conflict[np.ix_(seen, seen)]
    np.testing.assert_array_equal(block, block.T)
    np.testing.assert_array_equal(np.diagonal(block), 1.0)
    assert np.linalg.eigvalsh(block).min() > -1e-10
    assert result.mean >= -1 / (seen.sum() - 1) - 1e-12
    whole = measure(model, [(inputs, target)])
    np.testing.assert_allclose(block, whole.conflict[np.ix_(seen, seen)], rtol=0, atol=1e-10)


def test_scaling_a_class_loss_changes_nothing(network: Net) -> None:
    model, inputs, target = network
    weight = torch.tensor([0.1, 3.0, 20.0, 0.7], dtype=torch.float64)
    plain = measure(model, [(inputs, target)])
    scaled = measure(model, [(inputs, target)], criterion=nn.CrossEntropyLoss(weight, reduction="none"))
    np.testing.assert_allclose(scaled.conflict, plain.conflict, rtol=0, atol=1e-10)
    np.testing.assert_allclose(scaled.excess, plain.excess, rtol=0, atol=1e-10)
    np.testing.assert_allclose(scaled.norms, weight.numpy() * plain.norms, rtol=1e-10)


def test_permuting_classes_permutes_the_conflict(perceptron: nn.Module) -> None:
    inputs, target = torch.randn(40, 6, dtype=torch.float64), torch.arange(40) % 4
    before = measure(perceptron, [(inputs, target)], seed=1)
    order = torch.tensor([2, 0, 3, 1])  # class c of the new model is class order[c] of the old one
    with torch.no_grad():
        for p in perceptron[2].parameters():
            p.copy_(p[order].clone())
    after = measure(perceptron, [(inputs, torch.argsort(order)[target])], seed=1)
    np.testing.assert_allclose(after.conflict, before.conflict[np.ix_(order, order)], rtol=0, atol=1e-10)
    np.testing.assert_allclose(after.null, before.null[np.ix_(order, order)], rtol=0, atol=1e-10)


def test_permuting_parameters_changes_nothing(perceptron: nn.Module) -> None:
    data = [(torch.randn(40, 6, dtype=torch.float64), torch.arange(40) % 4)]
    before = measure(perceptron, data)
    order = torch.randperm(16)
    with torch.no_grad():
        for p in perceptron[0].parameters():
            p.copy_(p[order].clone())
        perceptron[2].weight.copy_(perceptron[2].weight[:, order].clone())
    np.testing.assert_allclose(measure(perceptron, data).conflict, before.conflict, rtol=0, atol=1e-10)


def test_two_classes_oppose_exactly_at_a_stationary_point() -> None:
    torch.manual_seed(0)
    target = torch.tensor([0] * 50 + [1] * 10)
    inputs = torch.randn(60, 3, dtype=torch.float64) + 0.5 * target[:, None]
    model = nn.Linear(3, 2).double()
    solver = torch.optim.LBFGS(model.parameters(), max_iter=500, tolerance_grad=1e-13, tolerance_change=0)

    def closure() -> Tensor:
        solver.zero_grad()
        loss = F.cross_entropy(model(inputs), target)
        loss.backward()
        return loss

    untrained = measure(model, [(inputs, target)], "all").conflict[0, 1]
    solver.step(closure)
    trained = measure(model, [(inputs, target)], "all").conflict[0, 1]
    assert trained == pytest.approx(-1, abs=1e-9)
    assert untrained > -0.999


def _zero_linear(features: int, num_classes: int) -> nn.Module:
    model = nn.Linear(features, num_classes, bias=False).double()
    nn.init.zeros_(model.weight)
    return model


def test_closed_form_of_a_linear_head_at_zero_weights() -> None:
    torch.manual_seed(0)
    target = torch.arange(120) % 6
    inputs = torch.rand(120, 9, dtype=torch.float64)
    means = torch.stack([inputs[target == k].mean(0) for k in range(6)])
    result = measure(_zero_linear(9, 6), [(inputs, target)], "all")
    expected = -_cosines(means) / 5
    np.fill_diagonal(expected, 1)
    np.testing.assert_allclose(result.conflict, expected, rtol=0, atol=1e-12)


def test_worked_example_of_the_closed_form() -> None:
    inputs = torch.tensor([[1.0, 0], [0, 1], [1, 1]], dtype=torch.float64)
    result = measure(_zero_linear(2, 3), [(inputs, torch.arange(3))], "all")
    pairs = [result.conflict[0, 1], result.conflict[0, 2], result.conflict[1, 2]]
    np.testing.assert_allclose(pairs, [0, -0.353553, -0.353553], atol=1e-6)
    assert result.mean == pytest.approx(-0.235702, abs=1e-6)
    assert result.std == pytest.approx(0.166667, abs=1e-6)
