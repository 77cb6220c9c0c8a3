import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from tailgrad.checks import InputError
from tailgrad.losses import DistributionBalancedLoss

COUNTS = [100, 40, 10, 2]
PLAIN = {"alpha": 0.5, "beta": 0.0, "neg_scale": 1.0, "init_bias": 0.0, "gamma": 0.0}


def _batch(seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(6, 4, generator=generator)
    return logits.requires_grad_(), (torch.rand(6, 4, generator=generator) < 0.4).float()


@given(st.integers(0, 1000), st.sampled_from([0.0, 0.5, 2.0]), st.sampled_from([1.0, 2.0, 5.0]))
def test_equals_timm_and_its_gradient(seed: int, gamma: float, neg_scale: float) -> None:
    reference = pytest.importorskip("timm.loss.distribution_balanced_loss")
    logits, target = _batch(seed)
    theirs = reference.DistributionBalancedLoss(
        COUNTS, 120, map_mu=0.3, neg_scale=neg_scale, focal_gamma=gamma, focal_balance=1.0
    )(logits, target)
    ours = DistributionBalancedLoss(COUNTS, num_samples=120, mu=0.3, neg_scale=neg_scale, gamma=gamma)
    found = ours(logits, target)
    torch.testing.assert_close(found, theirs)
    (mine,), (other,) = torch.autograd.grad(found, logits), torch.autograd.grad(theirs, logits)
    torch.testing.assert_close(mine, other, atol=1e-6, rtol=1e-4)


def test_with_everything_off_it_is_binary_cross_entropy() -> None:
    logits, target = _batch(0)
    # alpha + sigmoid(0) = 1.
    found = DistributionBalancedLoss(COUNTS, **PLAIN)(logits, target)
    torch.testing.assert_close(found, F.binary_cross_entropy_with_logits(logits, target))


def test_weights_of_single_and_joint_labels() -> None:
    loss = DistributionBalancedLoss([10, 10, 5], **{**PLAIN, "alpha": 0.1, "beta": 10.0}, mu=0.2)
    # At logit 0 every term costs log 2: ratios are 1, 1, 2 for one label, 1/2, 1/2, 1 for two.
    for target, ratios in [([1, 0, 0], [1, 1, 2]), ([1, 1, 0], [0.5, 0.5, 1])]:
        weights = [0.1 + 1 / (1 + math.exp(-10 * (r - 0.2))) for r in ratios]
        found = loss(torch.zeros(1, 3), torch.tensor([target]))
        assert found.item() == pytest.approx(sum(weights) * math.log(2) / 3)
    empty = loss(torch.zeros(1, 3), torch.zeros(1, 3))
    assert empty.item() == pytest.approx(1.1 * math.log(2))


def test_rare_labels_are_shifted_down_and_their_negatives_spared() -> None:
    loss = DistributionBalancedLoss([99, 1], num_samples=100, init_bias=0.1, neg_scale=2.0)
    assert loss.bias.tolist() == pytest.approx([0.05 * math.log(99), -0.05 * math.log(99)])
    logits = torch.zeros(1, 2, requires_grad=True)
    loss(logits, torch.zeros(1, 2)).backward()
    assert logits.grad is not None
    assert logits.grad[0, 0] > logits.grad[0, 1] > 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"class_counts": None}, "class_counts must be given"),
        ({"num_samples": 50}, "got 50 for a count of 100"),
        ({"neg_scale": 0.0}, "neg_scale"),
        ({"gamma": -1.0}, "gamma"),
    ],
)
def test_bad_options_are_named(options: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        DistributionBalancedLoss(**({"class_counts": COUNTS} | options))
