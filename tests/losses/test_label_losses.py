"""Losses of several labels an image against formulas written out by hand and brute force over pairs."""

import math

import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor
from torch.nn import functional as F

from tailgrad.checks import InputError
from tailgrad.losses import (
    BinaryCrossEntropyLoss,
    DistributionBalancedLoss,
    MultiLabelAsymmetricLoss,
    MultiLabelSoftF1Loss,
    PairwiseAUCLoss,
    ReweightedAUCLoss,
)
from tailgrad.losses.label_counts import label_counts
from tailgrad.losses.pairwise_auc import SURROGATES


def drawn(n: int = 24, labels: int = 4) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    z = torch.randn(n, labels, generator=generator, dtype=torch.float64)
    y = (torch.rand(n, labels, generator=generator) < torch.linspace(0.6, 0.1, labels)).double()
    y[0] = 1  # every label has a positive
    return z, y


def test_binary_cross_entropy_is_the_negative_log_likelihood_of_every_label() -> None:
    z, y = drawn()
    p = 1 / (1 + torch.exp(-z))
    each = -(y * p.log() + (1 - y) * (1 - p).log())
    torch.testing.assert_close(BinaryCrossEntropyLoss()(z, y), each.mean())
    torch.testing.assert_close(BinaryCrossEntropyLoss(reduction="none")(z, y), each.mean(1))


def test_the_asymmetric_loss_without_focus_is_the_sum_of_it() -> None:
    z, y = drawn()
    plain = MultiLabelAsymmetricLoss(gamma_pos=0, gamma_neg=0, clip=0)
    torch.testing.assert_close(plain(z, y), z.shape[1] * BinaryCrossEntropyLoss()(z, y))


@pytest.mark.parametrize(
    ("options", "wanted"), [({}, 0.015698), ({"gamma_neg": 0, "gamma_pos": 0, "clip": 0}, 0.458340)]
)
def test_the_asymmetric_loss_has_the_printed_values(options: dict[str, float], wanted: float) -> None:
    z, y = torch.tensor([[2.0, -1.0, -4.0]]), torch.tensor([[1, 0, 0]])
    assert float(MultiLabelAsymmetricLoss(reduction="sum", **options)(z, y)) == pytest.approx(
        wanted, abs=1e-6
    )


def test_reweighting_makes_positives_and_negatives_of_every_label_equal() -> None:
    z, y = drawn()
    counts = y.sum(0).int().tolist()
    loss = ReweightedAUCLoss(counts, num_samples=len(y))
    sides = []
    for k in range(z.shape[1]):
        has = y[:, k] > 0
        above, below = z[has, k], z[~has, k]
        sides.append((1 + torch.exp(-above)).log().mean() + (1 + torch.exp(below)).log().mean())
    torch.testing.assert_close(loss(z, y), torch.stack(sides).mean())


def test_batches_give_the_reweighted_loss_without_bias() -> None:
    z, y = drawn()
    loss = ReweightedAUCLoss(y.sum(0).int().tolist(), num_samples=len(y))
    parts = torch.stack([loss(z[i::4], y[i::4]) for i in range(4)])
    torch.testing.assert_close(parts.mean(), loss(z, y))


@pytest.mark.parametrize("surrogate", SURROGATES)
def test_the_pairwise_loss_is_a_mean_over_pairs(surrogate: str) -> None:
    z, y = drawn(10, 3)
    of_margin = {
        "logistic": lambda m: math.log1p(math.exp(-m)),
        "hinge": lambda m: max(1 - m, 0),
        "squared": lambda m: (1 - m) ** 2,
    }[surrogate]
    labels = []
    for k in range(3):
        pairs = [
            of_margin(float(z[i, k] - z[j, k]))
            for i in range(10)
            for j in range(10)
            if y[i, k] == 1 and y[j, k] == 0
        ]
        labels.append(sum(pairs) / len(pairs))
    found = PairwiseAUCLoss(surrogate=surrogate)(z, y)
    assert float(found) == pytest.approx(sum(labels) / 3)
    assert float(PairwiseAUCLoss(surrogate=surrogate, reduction="sum")(z, y)) == pytest.approx(sum(labels))


def test_the_pairwise_loss_tends_to_one_minus_macro_auc() -> None:
    z, y = drawn()
    scale = 1e3
    found = float(PairwiseAUCLoss(surrogate="logistic")(scale * z, y)) / scale
    wrong = torch.stack(
        [F.relu(-(z[y[:, k] > 0, k][:, None] - z[y[:, k] == 0, k][None])).mean() for k in range(z.shape[1])]
    ).mean()
    assert found == pytest.approx(float(wrong), abs=1e-2)
    perfect = 50 * (2 * y - 1)
    assert float(PairwiseAUCLoss()(perfect, y)) < 1e-12
    assert roc_auc_score(y.numpy(), perfect.numpy()) == 1


def test_labels_without_pairs_are_skipped_and_a_batch_without_any_costs_nothing() -> None:
    z, y = drawn(6, 2)
    y[:, 1] = 0
    torch.testing.assert_close(PairwiseAUCLoss()(z, y), PairwiseAUCLoss()(z[:, :1], y[:, :1]))
    leaf = z.clone().requires_grad_()
    value = PairwiseAUCLoss()(leaf, torch.zeros_like(y))
    value.backward()
    assert float(value.detach()) == 0
    assert leaf.grad is not None
    assert not leaf.grad.any()


def test_a_number_added_to_a_label_changes_no_pair() -> None:
    z, y = drawn()
    moved = z + torch.tensor([5.0, -3.0, 0.0, 1.0], dtype=torch.float64)
    torch.testing.assert_close(PairwiseAUCLoss()(moved, y), PairwiseAUCLoss()(z, y))


def test_hard_probabilities_give_one_minus_macro_f1() -> None:
    from sklearn.metrics import f1_score

    z, y = drawn()
    hard = 200 * z.sign()
    wanted = 1 - f1_score(y.numpy(), (z > 0).double().numpy(), average="macro")
    assert float(MultiLabelSoftF1Loss()(hard, y)) == pytest.approx(wanted)


def test_the_distribution_balanced_loss_knows_the_number_of_images() -> None:
    """Its shift is that of a label's share of the images, which the counts alone do not say."""
    loss = DistributionBalancedLoss([50, 10], num_samples=100)
    torch.testing.assert_close(loss.bias, torch.tensor([0.0, 0.05 / 2 * math.log(10 / 90)]))


@pytest.mark.parametrize("made", [ReweightedAUCLoss, DistributionBalancedLoss])
def test_fewer_images_than_positives_are_refused(made: type) -> None:
    with pytest.raises(InputError, match=r"num_samples must be .*got 5 for a count of 9; give the number"):
        made([9, 3], num_samples=5)


def test_a_label_that_every_image_has_counts_as_one_less() -> None:
    assert label_counts([10, 3], 10) == ([9, 3], 10)
    assert label_counts([4, 3], None) == ([4, 3], 7)


@pytest.mark.parametrize(
    "made", [BinaryCrossEntropyLoss, ReweightedAUCLoss, PairwiseAUCLoss, MultiLabelSoftF1Loss]
)
def test_class_indices_and_other_numbers_are_refused(made: type) -> None:
    loss = made([3, 2])
    with pytest.raises(InputError, match=r"a 0 or 1 for each example and class \[2, 2\], got torch.int64"):
        loss(torch.zeros(2, 2), torch.tensor([0, 1]))
    with pytest.raises(InputError, match=r"zeros and ones, got target\[0, 1\]=2"):
        loss(torch.zeros(2, 2), torch.tensor([[0, 2], [1, 0]]))
    with pytest.raises(InputError, match="one column for each of the 2 classes counted, got 3"):
        loss(torch.zeros(2, 3), torch.zeros(2, 3))


def every_loss() -> dict[str, torch.nn.Module]:
    counts = {"class_counts": [12, 9, 6, 4], "num_samples": 24}
    return {
        "bce": BinaryCrossEntropyLoss(),
        "asl": MultiLabelAsymmetricLoss(),
        "distribution_balanced": DistributionBalancedLoss(**counts),
        "soft_f1": MultiLabelSoftF1Loss(),
        "pairwise": PairwiseAUCLoss(),
        "reweighted": ReweightedAUCLoss(**counts),
    }


@pytest.mark.parametrize("name", every_loss())
@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_logits_of_half_precision_are_computed_on_in_single(name: str, kind: torch.dtype) -> None:
    loss, (z, y) = every_loss()[name], drawn()
    leaf = z.to(kind).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        value = loss(leaf, y.to(torch.uint8))
    value.backward()
    assert value.dtype == torch.float32
    assert float(value.detach()) == pytest.approx(float(loss(z.to(kind).double(), y)), rel=1e-5)
    assert leaf.grad is not None
    assert leaf.grad.isfinite().all()


@pytest.mark.parametrize("name", every_loss())
@pytest.mark.parametrize("size", [1e4, -1e4])
def test_logits_of_any_size_and_images_without_labels_give_finite_gradients(name: str, size: float) -> None:
    z, y = drawn()
    y[1] = 0
    leaf = (size * z).float().requires_grad_()
    every_loss()[name](leaf, y).backward()
    assert leaf.grad is not None
    assert leaf.grad.isfinite().all()


def test_the_distribution_balanced_loss_is_its_formula_image_by_image() -> None:
    z, y = drawn()
    counts, images = [12, 9, 6, 4], 24
    wanted = 0.0
    for i in range(len(z)):
        for k, n in enumerate(counts):
            rarities = sum(1 / counts[j] for j in range(4) if y[i, j])
            share = (1 / n) / rarities if rarities else math.inf
            weight = 0.1 + (1 / (1 + math.exp(-10 * (share - 0.2))) if rarities else 1.0)
            v = float(z[i, k]) + 0.05 / 2 * math.log(n / (images - n))
            against, scale = (-v, 1.0) if y[i, k] else (2 * v, 2.0)
            wrong = 1 / (1 + math.exp(-against))
            wanted += weight * wrong**2 * -math.log(1 - wrong) / scale
    found = DistributionBalancedLoss(counts, num_samples=images)(z, y)
    assert float(found) == pytest.approx(wanted / z.numel(), rel=1e-6)


def test_the_asymmetric_loss_is_its_formula_image_by_image() -> None:
    z, y = drawn()
    wanted = 0.0
    for one, has in zip(z.flatten().tolist(), y.flatten().tolist(), strict=True):
        s = 1 / (1 + math.exp(-one))
        shifted = min(1 - s + 0.05, 1.0)
        wanted -= (1 - s) * math.log(s) if has else (1 - shifted) ** 4 * math.log(shifted)
    assert float(MultiLabelAsymmetricLoss(reduction="sum")(z, y)) == pytest.approx(wanted)
    assert float(MultiLabelAsymmetricLoss()(z, y)) == pytest.approx(wanted / len(z))
