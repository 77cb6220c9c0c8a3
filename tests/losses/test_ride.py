import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import rel_entr, softmax

from tailgrad.checks import InputError
from tailgrad.losses import CrossEntropyLoss, DotRegressionLoss, LDAMLoss, RIDELoss
from tailgrad.losses.each import loss_or_each

COUNTS = [100, 10, 1]


def _experts(seed: int, number: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 4 * torch.randn(number, 6, 3, generator=generator, dtype=torch.float64)


TARGET = torch.tensor([0, 1, 2, 0, 0, 1])


@pytest.mark.parametrize("base", ["cross_entropy", "ldam"])
@given(st.integers(0, 10**6), st.sampled_from([0.0, 0.05, 0.5]), st.sampled_from([-0.2, 0.5]))
def test_against_the_formula(base: str, seed: int, r: float, factor: float) -> None:
    experts = _experts(seed)
    found = RIDELoss(COUNTS, base=base, factor=factor, r=r, reduction="none").double()(experts, TARGET)
    leaning = 3 * np.array(COUNTS) / 111 * r + 1 - r
    temperatures = leaning / leaning.max()
    own = {"cross_entropy": CrossEntropyLoss, "ldam": LDAMLoss}[base](COUNTS, reduction="none").double()
    mean = softmax(experts.mean(0).numpy() / temperatures, 1)
    expected = np.zeros(6)
    for logits in experts:
        divergence = rel_entr(mean, softmax(logits.numpy() / temperatures, 1)).sum(1)
        expected += own(logits, TARGET).numpy() + factor * temperatures.mean() ** 2 * divergence
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5, atol=1e-5)


def test_temperatures_of_the_running_example() -> None:
    found = RIDELoss(COUNTS, temperature=2.0).temperatures
    leaning = [3 * n / 111 * 0.05 + 0.95 for n in COUNTS]
    assert found.tolist() == pytest.approx([2 * value / leaning[0] for value in leaning], abs=1e-6)
    assert found.tolist() == sorted(found.tolist(), reverse=True)
    assert RIDELoss([7, 7, 7]).temperatures.tolist() == [1, 1, 1]


@given(st.integers(0, 10**6), st.integers(1, 4), st.floats(-3, 3))
def test_identical_experts_have_no_diversity(seed: int, number: int, factor: float) -> None:
    experts = _experts(seed)[:1].expand(number, 6, 3)
    plain = CrossEntropyLoss()(experts[0], TARGET)
    torch.testing.assert_close(RIDELoss(COUNTS, factor=factor)(experts, TARGET), number * plain)


def test_factor_zero_is_a_plain_ensemble() -> None:
    experts = _experts(1)
    found = RIDELoss(COUNTS, factor=0.0)(experts, TARGET)
    torch.testing.assert_close(found, sum(CrossEntropyLoss()(logits, TARGET) for logits in experts))
    assert RIDELoss(COUNTS, factor=-0.2)(experts, TARGET) < found, "differing experts are rewarded"


def test_the_mean_expert_carries_no_gradient() -> None:
    experts = _experts(2).requires_grad_()
    loss = RIDELoss(COUNTS, factor=-0.2)
    (gradient,) = torch.autograd.grad(loss(experts, TARGET), experts)
    for e in range(3):
        moved = experts.detach().clone().requires_grad_()
        mean = (moved.detach().mean(0) / loss.temperatures.double()).softmax(1)
        log_q = (moved[e] / loss.temperatures.double()).log_softmax(1)
        strength = -0.2 * float(loss.temperatures.double().mean()) ** 2
        own = CrossEntropyLoss()(moved[e], TARGET) - strength * (mean * log_q).sum(1).mean()
        torch.testing.assert_close(gradient[e], torch.autograd.grad(own, moved)[0][e])


def test_options_epochs_and_corrections_reach_the_base() -> None:
    loss = RIDELoss(COUNTS, base="ldam", base_options={"weights": "effective", "defer": 160}, factor=0.0)
    base = LDAMLoss(COUNTS, weights="effective", defer=160)
    experts = _experts(3)
    for epoch in (160, 161):
        for module in (loss, base):
            module.set_epoch(epoch)
        torch.testing.assert_close(loss(experts, TARGET), sum(base(logits, TARGET) for logits in experts))
    assert loss.correction() == base.correction()
    assert loss.weighting is loss.base.weighting, "what tells class weights apart reads them here"
    assert RIDELoss(COUNTS).correction() is None


def test_losses_name_the_head_that_they_need() -> None:
    assert [RIDELoss(COUNTS, base=base).head_needed for base in ("cross_entropy", "ldam")] == [None, "cosine"]
    assert (LDAMLoss.head_needed, DotRegressionLoss.head_needed) == ("cosine", "etf")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"base": "focal"}, "base must be a known name, got 'focal'"),
        ({"base_options": {"margin": 1}}, "base_options must be options of cross_entropy, got .'margin': 1"),
        ({"r": 1.5}, r"r must be in \[0, 1\], got 1.5"),
        ({"temperature": 0.0}, "temperature must be in"),
        ({"class_counts": None}, "class_counts must be given to RIDELoss"),
    ],
)
def test_bad_options(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        RIDELoss(**{"class_counts": COUNTS, **options})


def test_a_single_classifier_is_refused() -> None:
    with pytest.raises(InputError, match=r"\[E, N, K\], got torch.float64 \[6, 3\]; use a MultiExpert model"):
        RIDELoss(COUNTS)(_experts(0)[0], TARGET)


@pytest.mark.parametrize("target", [TARGET, torch.eye(3, dtype=torch.float64)[TARGET]])
@pytest.mark.parametrize("normalizer", ["weights", "batch"])
def test_one_loss_an_example_averages_to_the_mean_of_weights_and_diversity(
    target: torch.Tensor, normalizer: str
) -> None:
    options = {"weights": "inverse", "normalizer": normalizer}
    mean, each = (
        RIDELoss(COUNTS, base_options=options, factor=0.5, r=0.5, reduction=reduction).double()
        for reduction in ("mean", "none")
    )
    experts = _experts(4)
    found = loss_or_each(each, experts, target)
    assert found.shape == (6,)
    torch.testing.assert_close(found.mean(), mean(experts, target))
    weights = torch.tensor([111 / (3 * n) for n in COUNTS], dtype=torch.float64)[TARGET]
    own = sum(weights * torch.nn.functional.cross_entropy(z, TARGET, reduction="none") for z in experts)
    scale = 6 / weights.sum() if normalizer == "weights" else 1.0
    torch.testing.assert_close(found - each(experts, target), (scale - 1) * own, rtol=1e-6, atol=1e-6)
