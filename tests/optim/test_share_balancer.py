"""Each class's share of the gradient at the features."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tailgrad.checks import InputError
from tailgrad.optim import ShareBalancer


def _sent(balancer: ShareBalancer, gradient: Tensor, target: Tensor) -> Tensor:
    """What arrives below the balancer when ``gradient`` arrives above it."""
    features = torch.zeros_like(gradient, requires_grad=True)
    balancer(features, target).backward(gradient)
    assert features.grad is not None
    return features.grad


def _norms(gradient: Tensor, target: Tensor, classes: int) -> Tensor:
    return torch.stack([gradient[target == c].norm() for c in range(classes)])


@pytest.mark.parametrize("shape", [(6,), (3, 2, 2)])
def test_shares_average_what_was_asked(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    shares, scales = torch.tensor([1.0, 2.0, 5.0]), torch.tensor([10.0, 1.0, 0.03])
    balancer = ShareBalancer(3, shares.tolist(), decay=0.99)
    norms = []
    for step in range(1200):
        target = torch.randint(3, (8,)) if step % 3 else torch.randint(2, (8,))  # class 2 is often absent
        noise = torch.randn(8, *shape)
        gradient = noise * scales[target].reshape(8, *[1] * len(shape))
        sent = _norms(_sent(balancer, gradient, target), target, 3)
        norms.append(torch.where(sent > 0, sent, torch.nan))
    mean = torch.stack(norms[300:]).nanmean(0)
    torch.testing.assert_close(mean / mean.sum(), shares / shares.sum(), rtol=0.05, atol=0.0)


def test_forward_is_the_identity_and_directions_stay() -> None:
    torch.manual_seed(1)
    balancer, target = ShareBalancer(2), torch.tensor([0, 1, 1])
    features = torch.randn(3, 4, requires_grad=True)
    assert torch.equal(balancer(features, target), features)
    gradient = torch.randn(3, 4)
    sent = _sent(balancer, gradient, target)
    torch.testing.assert_close(F.normalize(sent), F.normalize(gradient))
    torch.testing.assert_close(sent[1] / gradient[1], sent[2] / gradient[2])


def test_gradients_already_in_proportion_are_left_alone() -> None:
    gradient = torch.diag(torch.tensor([3.0, 1.0, 0.0]))[:, :2]
    target = torch.tensor([0, 1, 1])
    torch.testing.assert_close(_sent(ShareBalancer(2, [3, 1]), gradient, target), gradient)


def test_a_class_never_met_takes_no_share() -> None:
    gradient, target = torch.tensor([[4.0], [2.0]]), torch.tensor([0, 1])
    sent = _sent(ShareBalancer(5), gradient, target)
    torch.testing.assert_close(sent, torch.tensor([[3.0], [3.0]]))


@pytest.mark.parametrize("factor", [1e-3, 50.0])
def test_a_class_weight_cancels_up_to_the_common_length(factor: float) -> None:
    gradient, target = torch.tensor([[4.0], [2.0]]), torch.tensor([0, 1])
    weighted = gradient * torch.tensor([[1.0], [factor]])
    plain, other = (_sent(ShareBalancer(2), g, target) for g in (gradient, weighted))
    torch.testing.assert_close(plain / plain.norm(), other / other.norm())


def test_the_running_mean_follows_its_definition_and_round_trips() -> None:
    balancer, target = ShareBalancer(2, decay=0.5), torch.tensor([0, 1])
    _sent(balancer, torch.tensor([[2.0], [8.0]]), target)
    _sent(balancer, torch.tensor([[4.0]]), target[:1])
    # Class 0: (.25 * 2 + .5 * 4) / .75; class 1 was absent and keeps its mean.
    torch.testing.assert_close(balancer.norm / balancer.weight, torch.tensor([10 / 3, 8.0]))
    twin = ShareBalancer(2, decay=0.5)
    twin.load_state_dict(balancer.state_dict())
    gradient = torch.tensor([[1.0], [1.0]])
    assert torch.equal(_sent(twin, gradient, target), _sent(balancer, gradient, target))


def test_evaluation_and_no_grad_pass_gradients_through() -> None:
    balancer, target = ShareBalancer(2).eval(), torch.tensor([0, 1])
    gradient = torch.tensor([[4.0], [2.0]])
    assert torch.equal(_sent(balancer, gradient, target), gradient)
    with torch.no_grad():
        balancer.train()(torch.ones(2, 1, requires_grad=True), target)
    assert float(balancer.weight.sum()) == 0


def test_zero_gradients_stay_zero() -> None:
    balancer, target = ShareBalancer(2), torch.tensor([0, 1])
    sent = _sent(balancer, torch.tensor([[0.0], [2.0]]), target)
    assert sent.tolist() == [[0.0], [2.0]]


@pytest.mark.parametrize("bad", [torch.inf, torch.nan])
def test_a_gradient_that_is_not_finite_is_not_remembered(bad: float) -> None:
    target, gradient = torch.tensor([0, 0, 1]), torch.randn(3, 2)
    balancer = ShareBalancer(2)
    _sent(balancer, gradient, target)
    before = {name: value.clone() for name, value in balancer.state_dict().items()}
    broken = gradient.clone()
    broken[0, 0] = bad
    assert not _sent(balancer, broken, target).isfinite().all()  # whoever skips such a step still sees it
    torch.testing.assert_close(dict(balancer.state_dict()), before)


def test_the_head_keeps_its_gradient_and_the_backbone_is_balanced() -> None:
    torch.manual_seed(2)
    backbone, head = nn.Linear(4, 6), nn.Linear(6, 3)
    x, y = torch.randn(20, 4), torch.tensor([0] * 16 + [1] * 3 + [2])
    balancer = ShareBalancer(3, after=head)
    F.cross_entropy(head(balancer(backbone(x), y)), y).backward()
    assert head.weight.grad is not None
    balanced_head = head.weight.grad.clone()
    features = backbone(x).detach().requires_grad_()
    plain = torch.autograd.grad(F.cross_entropy(head(features), y), [features, head.weight])
    norms = _norms(plain[0], y, 3)
    expected = plain[0] * (norms.sum() / 3 / norms)[y][:, None]
    torch.testing.assert_close(balanced_head, plain[1])
    torch.testing.assert_close(backbone.weight.grad, expected.T @ x)


def test_half_precision_features() -> None:
    gradient = torch.tensor([[4.0], [2.0]], dtype=torch.bfloat16)
    sent = _sent(ShareBalancer(2), gradient, torch.tensor([0, 1]))
    assert sent.dtype == torch.bfloat16
    assert sent.flatten().tolist() == pytest.approx([3, 3], rel=0.02)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_classes": 0}, "num_classes must be in"),
        ({"num_classes": 2, "decay": 1.0}, "decay must be in"),
        ({"num_classes": 2, "shares": [1.0]}, "shares must hold one number a class, got 1 for 2 classes"),
        ({"num_classes": 2, "shares": [1.0, 0.0]}, r"shares\[1\] must be in"),
        (
            {"num_classes": 2, "after": nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))},
            r"after must keep examples independent, got '1' \(BatchNorm1d\)",
        ),
    ],
)
def test_bad_arguments(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ShareBalancer(**arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("target", [torch.tensor([0]), torch.tensor([0.0, 1.0]), torch.eye(2)])
def test_bad_targets(target: Tensor) -> None:
    with pytest.raises(InputError, match=r"target must be class indices \[2\]"):
        ShareBalancer(2)(torch.ones(2, 3), target)
    with pytest.raises(InputError, match=r"target must be in 0..1, got 0..2"):
        ShareBalancer(2)(torch.ones(2, 3), torch.tensor([0, 2]))
