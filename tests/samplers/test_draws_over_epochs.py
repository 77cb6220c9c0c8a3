"""Who is drawn over many epochs and seeds: examples of a class, classes of a batch, orders of a round."""

from collections import Counter
from itertools import combinations, pairwise, permutations
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import chisquare

from tailgrad.samplers import (
    ClassAwareSampler,
    ClassBalancedSampler,
    CooldownSampler,
    DeferredSampler,
    InstanceSampler,
    MPerClassSampler,
    OverSampler,
    PowerSampler,
    ProgressiveSampler,
    ReversedSampler,
    SquareRootSampler,
    StratifiedSampler,
    TwoPhaseSampler,
    UnderSampler,
)

COUNTS = np.array([60, 12, 3])
TARGET = np.random.default_rng(0).permutation(np.repeat([0, 1, 2], COUNTS))
LIMIT = 1e-4
"""p-value below which a frequency is called wrong; all seeds are fixed."""


def _order(sampler: Any, epoch: int) -> NDArray[np.int64]:
    sampler.set_epoch(epoch)
    return np.array(list(sampler))


def _times(sampler: Any, epochs: int) -> NDArray[np.int64]:
    """How often each example is drawn in epochs 1, 2, ..."""
    return sum(np.bincount(_order(sampler, e), minlength=len(TARGET)) for e in range(1, epochs + 1))


def _shares(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """The chance of each example where class k weighs ``weights[k]`` and its examples share that."""
    each = np.array([weights[k] / COUNTS[k] for k in TARGET])
    return each / each.sum()


@pytest.mark.parametrize(
    ("sampler", "weights"),
    [
        (PowerSampler(TARGET, power=0.3, seed=1), COUNTS**0.3),
        (PowerSampler(TARGET, power=-1.0, seed=1), 1 / COUNTS),
        (SquareRootSampler(TARGET, seed=1), np.sqrt(COUNTS)),
        (ClassBalancedSampler(TARGET, seed=1), np.ones(3)),
        (ReversedSampler(TARGET, seed=1), 1 / COUNTS),
        (ReversedSampler(TARGET, per="example", seed=1), np.ones(3)),
        (InstanceSampler(TARGET, seed=1), COUNTS.astype(float)),
    ],
)
def test_every_example_is_drawn_as_often_as_its_class_says(sampler: Any, weights: Any) -> None:
    times = _times(sampler, 80)
    assert times.sum() == 80 * len(TARGET)
    assert chisquare(times, _shares(weights) * times.sum()).pvalue > LIMIT
    # The test can tell: frequencies of a slightly other power do not fit.
    if not isinstance(sampler, InstanceSampler):
        other = _shares(weights * COUNTS**0.2)
        assert chisquare(times, other * times.sum()).pvalue < LIMIT


@pytest.mark.parametrize("epoch", [1, 2, 4, 6])
@pytest.mark.parametrize("kind", [ProgressiveSampler, CooldownSampler])
def test_schedules_draw_what_their_formula_says_in_every_epoch(kind: Any, epoch: int) -> None:
    done = (epoch - 1) / 5
    natural = COUNTS / COUNTS.sum()
    weights = (1 - done) * natural + done / 3 if kind is ProgressiveSampler else COUNTS**done
    times = sum(
        np.bincount(TARGET[_order(kind(TARGET, epochs=6, seed=seed), epoch)], minlength=3)
        for seed in range(60)
    )
    assert chisquare(times, weights / weights.sum() * times.sum()).pvalue > LIMIT


def test_deferred_draws_are_even_from_the_epoch_after() -> None:
    sampler = DeferredSampler(TARGET, defer=3)
    late = sum(np.bincount(TARGET[_order(sampler, epoch)], minlength=3) for epoch in range(4, 64))
    assert chisquare(late).pvalue > LIMIT
    assert len({tuple(_order(sampler, epoch)) for epoch in (1, 2, 3)}) == 3


def test_who_is_repeated_once_more_changes_from_epoch_to_epoch() -> None:
    # 30 places for 12 examples: six of them come three times, the others twice.
    sampler = OverSampler(TARGET, ratio=0.5)
    extra = np.zeros(12, dtype=int)
    for epoch in range(1, 201):
        times = np.bincount(_order(sampler, epoch), minlength=len(TARGET))[TARGET == 1]
        assert sorted(times) == [2] * 6 + [3] * 6
        extra += times == 3
    assert chisquare(extra).pvalue > LIMIT
    assert extra.min() > 60


def test_cutting_down_leaves_nobody_out_for_good() -> None:
    times = _times(UnderSampler(TARGET), 400)
    assert times[TARGET == 2].tolist() == [400] * 3
    assert chisquare(times[TARGET == 0]).pvalue > LIMIT
    assert times[TARGET == 0].sum() == 3 * 400


def test_rounds_of_classes_come_in_every_order_alike() -> None:
    sampler = ClassAwareSampler(TARGET, samples_per_class=2)
    found: Counter[tuple[int, ...]] = Counter()
    for epoch in range(1, 101):
        rounds = TARGET[_order(sampler, epoch)][:72:2].reshape(-1, 3)
        found.update(map(tuple, rounds.tolist()))
    assert set(found) == set(permutations(range(3)))
    assert chisquare(list(found.values())).pvalue > LIMIT


def test_batches_of_some_classes_hold_every_pair_alike() -> None:
    target = np.repeat(np.arange(4), [30, 10, 5, 3])
    sampler = MPerClassSampler(target, batch_size=4, m=2)
    found = Counter(
        tuple(np.unique(target[batch]).tolist())
        for epoch in range(1, 61)
        for batch in _order(sampler, epoch).reshape(-1, 4)
    )
    assert set(found) == set(combinations(range(4), 2))
    assert chisquare(list(found.values())).pvalue > LIMIT


def test_a_rare_class_stands_anywhere_in_a_stratified_batch() -> None:
    sampler = StratifiedSampler(TARGET, batch_size=5)
    places: Counter[int] = Counter()
    for epoch in range(1, 61):
        for batch in TARGET[_order(sampler, epoch)].reshape(-1, 5):
            places.update(np.flatnonzero(batch == 2).tolist())
    assert chisquare([places[i] for i in range(5)]).pvalue > LIMIT


def test_the_first_phase_goes_through_its_subset_again_and_again() -> None:
    sampler = TwoPhaseSampler(TARGET, phase=3, per_class=5)
    subset = set(sampler.subset().tolist())
    assert np.bincount(TARGET[list(subset)]).tolist() == [5, 5, 3]
    for epoch in (1, 2, 3):
        order = _order(sampler, epoch)
        passes = [order[start : start + 13] for start in range(0, 65, 13)]
        assert all(set(one) == subset for one in passes)
        assert len({tuple(one) for one in passes}) == 5


def test_epochs_are_shuffled_apart() -> None:
    # Two independent permutations agree in one place on average, whatever their length, with variance one.
    sampler = InstanceSampler(TARGET)
    orders = [_order(sampler, epoch) for epoch in range(1, 202)]
    agree = [int((a == b).sum()) for a, b in pairwise(orders)]
    assert abs(np.mean(agree) - 1) < 5 / np.sqrt(len(agree))
    firsts = np.bincount([order[0] for order in orders], minlength=len(TARGET))
    assert chisquare(firsts).pvalue > LIMIT


@pytest.mark.parametrize(
    "make",
    [
        lambda seed: InstanceSampler(TARGET, seed=seed),
        lambda seed: ClassBalancedSampler(TARGET, seed=seed),
        lambda seed: StratifiedSampler(TARGET, batch_size=5, seed=seed),
        lambda seed: OverSampler(TARGET, seed=seed),
    ],
)
def test_the_next_epoch_is_not_the_next_seed(make: Any) -> None:
    """A sum of seed and epoch as seed would make runs of neighbouring seeds share nearly all orders."""
    orders = {
        (seed, epoch): tuple(_order(make(seed), epoch).tolist()) for seed in range(6) for epoch in range(1, 7)
    }
    assert len(set(orders.values())) == 36
