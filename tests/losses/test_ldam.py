import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from tailgrad.checks import InputError
from tailgrad.losses import LDAMLoss

COUNTS = [100, 10, 1]
CIFAR10_LT = [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]


def _cosines(seed: int, n: int = 12, k: int = 4) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    cosines = 2 * torch.rand(n, k, generator=generator, dtype=torch.float64) - 1
    return 30 * cosines, torch.randint(0, k, (n,), generator=generator)


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        (COUNTS, [0.158114, 0.281171, 0.5]),
        (
            CIFAR10_LT,
            [0.158114, 0.179697, 0.204238, 0.232091, 0.263829, 0.299768, 0.340675, 0.387221, 0.440497, 0.5],
        ),
        ([7, 7], [0.5, 0.5]),
    ],
)
def test_margins(counts: list[int], expected: list[float]) -> None:
    assert LDAMLoss(counts).margin.tolist() == pytest.approx(expected, abs=1e-6)


def test_worked_numbers() -> None:
    logits = 30 * torch.tensor([[0.8, 0.5, 0.1]] * 3, dtype=torch.float64)
    losses = LDAMLoss(COUNTS, reduction="none")(logits, torch.arange(3))
    assert losses.tolist() == pytest.approx([0.014071, 17.435119, 36.000123], abs=2e-6)


@given(st.integers(0, 10**6), st.floats(0, 1))
def test_is_cross_entropy_of_the_label_moved_down(seed: int, max_margin: float) -> None:
    logits, target = _cosines(seed)
    logits.requires_grad_()
    loss = LDAMLoss([40, 9, 3, 1], max_margin=max_margin)
    moved = logits - 30 * loss.margin.double() * F.one_hot(target, 4)
    found, expected = loss(logits, target), F.cross_entropy(moved, target)
    torch.testing.assert_close(found, expected)
    for ours, theirs in zip(
        torch.autograd.grad(found, logits), torch.autograd.grad(expected, logits), strict=True
    ):
        torch.testing.assert_close(ours, theirs)


def test_no_margin_is_cross_entropy() -> None:
    logits, target = _cosines(0)
    torch.testing.assert_close(
        LDAMLoss([40, 9, 3, 1], max_margin=0.0)(logits, target), F.cross_entropy(logits, target)
    )


@pytest.mark.parametrize("gap", [0.0, 16.0, 40.0, 60.0])
def test_confident_single_precision_keeps_what_the_margin_leaves(gap: float) -> None:
    # 1 - p_y vanishes in float32 from a gap of 17 on, the loss behind a margin of 15 does not.
    logits = torch.tensor([[gap / 2, -gap / 2, -gap / 2]], requires_grad=True)
    exact = F.cross_entropy(logits.double() - torch.tensor([[15.0, 0, 0]]), torch.tensor([0]))
    loss = LDAMLoss([1, 1, 1])
    for target in (torch.tensor([0]), torch.tensor([[1.0, 0.0, 0.0]])):
        found = loss(logits, target)
        assert found.item() == pytest.approx(exact.item(), rel=1e-5, abs=1e-7)
        assert torch.autograd.grad(found, logits)[0].isfinite().all()


def test_soft_targets_have_the_gradient_of_the_definition() -> None:
    logits, _ = _cosines(1)
    target = torch.rand(12, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    target /= target.sum(1, keepdim=True)
    loss = LDAMLoss([40, 9, 3, 1], weights="inverse", normalizer="batch")
    assert torch.autograd.gradcheck(lambda z: loss(z, target), logits.requires_grad_())


@pytest.mark.parametrize("size", [30.04, 31.0, 1e4, float("inf")])
def test_logits_of_a_plain_linear_head_are_refused(size: float) -> None:
    loss = LDAMLoss(COUNTS)
    with pytest.raises(InputError, match=r"cosines times scale=30.0, got one of size .* Cosine head"):
        loss(torch.tensor([[0.0, -size, 0.0]]), torch.tensor([0]))


def test_rounded_cosines_pass_and_nan_is_returned() -> None:
    loss = LDAMLoss(COUNTS, scale=30.1)
    edge = torch.tensor([[30.1, -30.1, 0.0]])
    assert loss(edge * 1.0009, torch.tensor([0])).isfinite()
    assert loss(edge.bfloat16(), torch.tensor([0])).isfinite()
    assert loss(edge * torch.nan, torch.tensor([0])).isnan()


def test_the_size_is_not_read_under_transforms() -> None:
    loss = LDAMLoss(COUNTS)
    logits, target = torch.tensor([[40.0, 0.0, 0.0]]), torch.tensor([0])
    assert torch.func.grad(lambda z: loss(z, target))(logits).isfinite().all()


def test_an_accelerator_is_asked_ever_more_rarely() -> None:
    loss, far = LDAMLoss(COUNTS), torch.zeros(1, 3, device="meta")
    assert [call for call in range(1, 17) if loss._looks(far)] == [1, 2, 4, 8, 16]


def test_needs_counts_and_a_margin() -> None:
    with pytest.raises(InputError, match="class_counts must be given to LDAMLoss, got None"):
        LDAMLoss()
    with pytest.raises(InputError, match="max_margin must be in"):
        LDAMLoss(COUNTS, max_margin=-0.1)
    with pytest.raises(InputError, match="scale must be in"):
        LDAMLoss(COUNTS, scale=0.0)
