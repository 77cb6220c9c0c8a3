"""Up-sampling and up-weighting against all batches of a tiny set, one by one."""

from itertools import product

import pytest
import torch
from torch import Tensor

from tailgrad.evidence import read_study
from tailgrad.evidence.analyses.small_sets import Part
from tailgrad.evidence.analyses.small_training import plain_losses, small_network
from tailgrad.evidence.analyses.two_ways_to_balance import both_ways, example_gradients, moments

COUNTS = (3, 1)
TARGET = torch.tensor([0, 0, 0, 1])


def _part() -> Part:
    return Part(torch.randn(4, 3, generator=torch.Generator().manual_seed(0)), TARGET)


def _all_batches(gradients: Tensor, draw: Tensor, weights: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Expected gradient, and expected squared distance from it, over all ordered batches with replacement."""
    mean, square = torch.zeros(gradients.shape[1], dtype=torch.float64), torch.tensor(0.0).double()
    for batch in product(range(len(draw)), repeat=size):
        index = torch.tensor(batch)
        chance = draw[index].prod()
        found = (weights[index, None] * gradients[index]).mean(0)
        mean += chance * found
        square += chance * found.square().sum()
    return mean, square - mean.square().sum()


@pytest.mark.parametrize("size", [1, 3])
def test_expected_gradients_are_equal_and_variances_are_those_of_all_batches(size: int) -> None:
    gradients = example_gradients(small_network(3, 2, width=4, seed=0), _part())
    found = {}
    for way, (draw, weights) in both_ways(COUNTS, TARGET).items():
        assert float(draw.sum()) == pytest.approx(1)
        mean, variance = moments(gradients, draw, weights)
        listed_mean, listed_variance = _all_batches(gradients, draw, weights, size)
        assert torch.allclose(mean, listed_mean, atol=1e-12)
        assert variance / size == pytest.approx(float(listed_variance), rel=1e-9)
        found[way] = mean
    assert torch.allclose(found["weights"], found["sampling"], atol=1e-12)
    by_class = (gradients[:3].mean(0) + gradients[3]) / 2
    assert torch.allclose(found["weights"], by_class, atol=1e-12)


def test_example_gradients_are_those_of_one_example_at_a_time() -> None:
    net, part = small_network(3, 2, width=4, seed=1), _part()
    found = example_gradients(net, part)
    for i in range(4):
        loss = plain_losses(net(part.inputs[i : i + 1]), part.target[i : i + 1]).sum()
        one = torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(net.parameters()))])
        assert torch.allclose(found[i], one.double(), atol=1e-6)


def test_weights_have_the_larger_variance_where_gradients_are_equally_long() -> None:
    gradients = torch.nn.functional.normalize(torch.randn(4, 9, dtype=torch.float64), dim=1)
    ways = both_ways(COUNTS, TARGET)
    squares = {way: float((q * w**2).sum()) for way, (q, w) in ways.items()}
    # sum_i q_i w_i^2 = (N / K^2) sum_k 1 / n_k for weights, and 1 for sampling.
    assert squares == pytest.approx({"weights": (4 / 4) * (1 / 3 + 1), "sampling": 1.0})
    variances = {way: moments(gradients, *both)[1] for way, both in ways.items()}
    assert variances["weights"] > variances["sampling"]


def test_the_variance_at_the_start_is_a_check_since_the_counts_give_it() -> None:
    """Gradients that are equally long and at right angles: ``N / K^2 sum_c 1 / n_c``, less what both lack."""
    plan = read_study("f08-two-ways-to-balance")
    counts = plan.settings["counts"]
    target = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    ways = both_ways(counts, target)
    wide, narrow = (
        moments(torch.eye(len(target)).double(), *ways[way])[1] for way in ("weights", "sampling")
    )
    claim = next(one for one in plan.claims if one.figure == "variance_ratio.start")
    assert wide / narrow == pytest.approx(sum(counts) / 100 * sum(1 / n for n in counts), rel=0.03)
    assert wide / narrow > 1.9 * claim.threshold
    assert claim.kind == "check"
