import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tailgrad.checks import InputError
from tailgrad.heads.etf import simplex
from tailgrad.interference.collapse import Block, collapse
from tailgrad.losses import NeuralCollapseLoss, frozen


def _loss(classes: int = 3, **options: float) -> NeuralCollapseLoss:
    return NeuralCollapseLoss([9] * classes, **{"dim": 5, "warmup": 0, **options}).double()


def _batch(seed: int, n: int = 9) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    target = torch.cat([torch.arange(3), torch.randint(3, (n - 3,), generator=generator)])
    return torch.randn(n, 5, generator=generator, dtype=torch.float64), target


def _by_hand(features: np.ndarray, target: np.ndarray, means: np.ndarray) -> float:
    """Closeness is over the classes of the batch."""
    within = ((features - means[target]) ** 2).mean()
    centred = means - means.mean(0)
    unit = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    cosines = unit @ unit.T - 9 * np.eye(len(means))
    return float(within + cosines[np.unique(target)].max(1).mean())


@given(st.integers(0, 10**6), st.sampled_from([0.0, 0.5, 0.9]))
def test_three_steps_against_loops(seed: int, momentum: float) -> None:
    loss, means = _loss(momentum=momentum), None
    for step in range(3):
        features, target = _batch(seed + step)
        batch = np.stack([features[target == k].mean(0).numpy() for k in range(3)])
        means = batch if means is None else momentum * means + (1 - momentum) * batch
        expected = _by_hand(features.numpy(), target.numpy(), means)
        assert loss(features.requires_grad_(), target).item() == pytest.approx(expected)
        np.testing.assert_allclose(loss.means.numpy(), means)


@given(st.integers(2, 6), st.integers(0, 100))
def test_collapsed_features_are_its_minimum(classes: int, seed: int) -> None:
    means = simplex(5, min(classes, 6), seed).double().T
    classes = len(means)
    found = collapse(means.numpy(), [Block(means.numpy(), np.arange(classes), None)])
    assert found.equiangular == pytest.approx(0, abs=1e-6)
    loss, target = _loss(classes), torch.arange(classes).repeat(3)
    assert float(loss(4 * means[target], target)) == pytest.approx(-1 / (classes - 1), abs=1e-6)
    noisy = 4 * means[target] + 0.3 * torch.randn(len(target), 5, dtype=torch.float64)
    assert float(_loss(classes)(noisy, target)) > -1 / (classes - 1) + 1e-3


def test_gradients_contract_classes_and_spread_means() -> None:
    features, target = _batch(0)
    for options in ({"separation": 0.0}, {"compactness": 0.0}):
        moved = features.clone().requires_grad_()
        before = _loss(**options)(moved, target)
        before.backward()
        assert moved.grad is not None
        assert float(_loss(**options)(moved.detach() - 0.1 * moved.grad, target)) < before.item()


def test_both_terms_have_right_gradients() -> None:
    features, target = _batch(1)
    loss = _loss(momentum=0.5)
    loss(_batch(2)[0].requires_grad_(), _batch(2)[1])
    with frozen(loss):
        assert torch.autograd.gradcheck(lambda x: loss(x, target), features.requires_grad_())


def test_warm_up_rises_with_the_updates_only() -> None:
    loss, plain = _loss(warmup=4, momentum=0.0), _loss(momentum=0.0)
    features, target = _batch(3)
    full = float(plain(features, target))
    for step in range(6):
        with torch.no_grad():
            assert float(loss(features, target)) == pytest.approx(full * min(1, (step + 1) / 4))
        value = loss(features.clone().requires_grad_(), target)
        assert value.item() == pytest.approx(full * min(1, (step + 1) / 4))
    assert loss.updates == 6


@pytest.mark.parametrize("earlier", [0, 1, 3])
def test_a_second_pass_of_a_step_is_the_function_of_its_first(earlier: int) -> None:
    loss, plain = _loss(warmup=5, momentum=0.6), _loss(warmup=5, momentum=0.6)
    for seed in range(earlier):
        for each in (loss, plain):
            each(_batch(seed)[0].requires_grad_(), _batch(seed)[1])
    features, target = _batch(7)
    loss(features.clone().requires_grad_(), target)
    moved = features + 0.1
    with frozen(loss):
        second = loss(moved.requires_grad_(), target)
    torch.testing.assert_close(second, plain(moved, target))


def test_absent_classes_keep_their_means_and_unseen_ones_take_no_part() -> None:
    loss = _loss(4)
    features, target = _batch(4)
    loss(features.clone().requires_grad_(), target)
    kept = loss.means.clone()
    only = torch.zeros(2, 5, dtype=torch.float64, requires_grad=True)
    assert loss(only, torch.tensor([1, 1])).item() == pytest.approx(
        _by_hand(np.zeros((2, 5)), np.ones(2, int), torch.stack([kept[0], 0.9 * kept[1], kept[2]]).numpy())
    )
    assert torch.equal(loss.means[[0, 2, 3]], kept[[0, 2, 3]])
    assert loss.seen.tolist() == [True, True, True, False]
    assert float(_loss(4)(features[:1], target[:1])) == 0


def test_sum_is_n_times_the_mean_and_bad_input_is_named() -> None:
    features, target = _batch(5)
    torch.testing.assert_close(_loss(reduction="sum")(features, target), 9 * _loss()(features, target))
    with pytest.raises(InputError, match=r"momentum must be in .* got 1"):
        _loss(momentum=1.0)
    with pytest.raises(InputError, match=r"\[N, 5\], got torch.float32 \[2, 4\]"):
        _loss()(torch.randn(2, 4), torch.tensor([0, 1]))
