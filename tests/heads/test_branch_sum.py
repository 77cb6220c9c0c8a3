import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tailgrad.heads import BranchSoftmax, BranchSum
from tailgrad.heads.pooling import branch_means

N, C, K = 5, 48, 6


def _map(seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.leaky_relu(torch.randn(N, C, 7, 7, generator=generator, dtype=torch.float64))


def _head(**options: object) -> BranchSum:
    torch.manual_seed(1)
    head = BranchSum(C, K, **options).double()
    for branch in head.branches:
        nn.init.normal_(branch.bias)
    return head


def _literal(head: BranchSum, features: Tensor, seed: int) -> Tensor:
    torch.manual_seed(seed)
    total = torch.zeros((), dtype=features.dtype)
    for branch in head.branches:
        dropped = F.dropout(features, head.dropout, head.training)
        logit_map = F.conv2d(dropped, branch.weight[:, :, None, None], branch.bias)
        total = total + (logit_map.relu() if head.relu else logit_map)
    return F.adaptive_avg_pool2d(total, 1).flatten(1)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("dropout", [0.0, 0.5, 0.8])
def test_equals_the_literal_map_form_under_the_same_masks(training: bool, relu: bool, dropout: float) -> None:
    head = _head(dropout=dropout, relu=relu).train(training)
    features = _map()
    torch.manual_seed(3)
    torch.testing.assert_close(head(features), _literal(head, features, 3), rtol=1e-12, atol=1e-12)


def test_fact_1_three_branches_are_one_linear_classifier() -> None:
    head = _head().eval()
    features = _map()
    weight = sum(branch.weight for branch in head.branches)
    bias = sum(branch.bias for branch in head.branches)
    expected = features.mean((2, 3)) @ weight.T + bias
    torch.testing.assert_close(head(features), expected, rtol=1e-12, atol=1e-13)
    assert not torch.allclose(_head(relu=True).eval()(features), expected)


def test_fact_2_branches_receive_one_gradient_without_dropout() -> None:
    head = _head(dropout=0.0).train()
    F.cross_entropy(head(_map()), torch.arange(N)).backward()
    first, *others = (branch.weight.grad for branch in head.branches)
    assert first.norm() > 0
    assert all(torch.equal(first, other) for other in others)
    dropping = _head(dropout=0.5).train()
    F.cross_entropy(dropping(_map()), torch.arange(N)).backward()
    first, *others = (branch.weight.grad for branch in dropping.branches)
    assert not any(torch.equal(first, other) for other in others)


def test_fact_6_gradient_at_the_map() -> None:
    head, target = _head().eval(), torch.arange(N)
    features = _map().requires_grad_()
    logits = head(features)
    (actual,) = torch.autograd.grad(F.cross_entropy(logits, target, reduction="sum"), features)
    d = logits.detach().softmax(1) - F.one_hot(target, K)
    expected = d @ sum(branch.weight for branch in head.branches) / 49
    torch.testing.assert_close(actual, expected[:, :, None, None].expand_as(actual))


def test_fact_7_three_random_branches_grow_the_gradient_by_the_root_of_three() -> None:
    torch.manual_seed(0)
    ratios = []
    for _ in range(20):
        head = BranchSum(768, 6).requires_grad_(False)
        d = torch.randn(6).softmax(0) - F.one_hot(torch.tensor(0), 6)
        one = d @ head.branches[0].weight
        every = d @ sum(branch.weight for branch in head.branches)
        ratios.append(float(every.norm() / one.norm()))
    assert sum(ratios) / len(ratios) == pytest.approx(math.sqrt(3), rel=0.02)


@pytest.mark.parametrize(("uniform", "expected"), [(False, 0.0714), (True, 0.0825)])
def test_fact_8_noise_of_dropout_before_the_mean(uniform: bool, expected: float) -> None:
    torch.manual_seed(0)
    features = torch.ones(400, 16, 14, 14)
    if uniform:
        features = torch.rand(400, 16, 14, 14)
    (mean,) = branch_means(features, 1, dropout=0.5)
    noise = float((mean / features.mean((2, 3)) - 1).std())
    cv = 1 / math.sqrt(3) if uniform else 0.0
    assert math.sqrt((1 + cv**2) / 196) == pytest.approx(expected, abs=5e-5)
    assert noise == pytest.approx(expected, rel=0.03)


def test_fact_9_softmax_mixture_starts_at_a_third_and_its_gradients_cancel() -> None:
    plain = _head().eval()
    mixed, rescaled = (BranchSoftmax(C, K, rescale=r).double().eval() for r in (False, True))
    for head in (mixed, rescaled):
        head.branches.load_state_dict(plain.branches.state_dict())
    features = _map()
    torch.testing.assert_close(mixed(features), plain(features) / 3, rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(rescaled(features), plain(features), rtol=1e-12, atol=1e-13)
    nn.init.normal_(mixed.mixing)
    F.cross_entropy(mixed(features), torch.arange(N)).backward()
    assert mixed.mixing.grad is not None
    assert mixed.mixing.grad.norm() > 1e-4
    assert abs(mixed.mixing.grad.sum().item()) < 1e-15


def test_softmax_mixture_weights_each_branch() -> None:
    head = BranchSoftmax(C, K).double().eval()
    head.mixing.data = torch.tensor([0.0, math.log(2.0), math.log(5.0)], dtype=torch.float64)
    g = _map().mean((2, 3))
    a, b, c = (branch(g) for branch in head.branches)
    torch.testing.assert_close(head(_map()), (a + 2 * b + 5 * c) / 8)
    assert head.mixture().sum().item() == pytest.approx(1)
