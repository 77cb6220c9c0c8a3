"""What every sampler owes, for each one that the folder exports."""

import inspect
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

import tailgrad.samplers as samplers
from tailgrad.checks import InputError
from tailgrad.samplers import InstanceSampler, PowerSampler

NAMES = [name for name in samplers.__all__ if name.endswith("Sampler")]
OPTIONS: dict[str, Any] = {"epochs": 5, "batch_size": 8, "m": 4, "phase": 2, "defer": 2}
COUNTS = (40, 12, 5)
Counts = st.lists(st.integers(1, 30), min_size=2, max_size=4)


def _build(name: str, target: Any, **more: Any) -> Any:
    cls = getattr(samplers, name)
    known = inspect.signature(cls).parameters
    return cls(target, **{key: value for key, value in OPTIONS.items() if key in known}, **more)


def _target(counts: Any, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))


def _final(sampler: Any) -> Any:
    sampler.set_epoch(9)
    return sampler


def test_the_folder_exports_the_samplers_of_the_issue() -> None:
    assert len(NAMES) == 14
    assert {name for name in dir(samplers) if name.endswith("Sampler")} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_seed_and_epoch_fix_the_order(name: str) -> None:
    target = _target(COUNTS)
    first, same, other = (_build(name, target, seed=seed) for seed in (1, 1, 2))
    orders = []
    for epoch in (1, 2, 7, 8):
        for sampler in (first, same, other):
            sampler.set_epoch(epoch)
        torch.manual_seed(epoch)  # and nothing else does
        orders.append(list(first))
        assert orders[-1] == list(first) == list(same) == list(pickle.loads(pickle.dumps(first)))
        assert orders[-1] != list(other)
        assert len(first) == len(orders[-1])
    assert len({tuple(order) for order in orders}) == 4
    first.set_epoch(1)
    assert list(first) == orders[0]
    assert list(_build(name, target, seed=1)) == orders[0]  # before set_epoch it is epoch 1


@pytest.mark.parametrize("name", NAMES)
def test_a_loader_gets_the_order_and_nobody_elses_chance_is_used(name: str) -> None:
    sampler, target = _build(name, _target(COUNTS)), torch.from_numpy(_target(COUNTS))
    before = torch.get_rng_state()
    sampler.set_epoch(1)
    order = list(sampler)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(type(i) is int for i in order)
    assert torch.equal(torch.cat(list(DataLoader(target, sampler=sampler, batch_size=8))), target[order])
    assert isinstance(sampler, DistributedSampler), "Lightning and Fabric would wrap any other"


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=25)
@given(counts=Counts, ranks=st.integers(1, 5), seed=st.integers(0, 1000), epoch=st.integers(0, 9))
def test_ranks_share_one_order(name: str, counts: list[int], ranks: int, seed: int, epoch: int) -> None:
    target = _target(counts, seed)
    alone = _build(name, target, seed=seed)
    parts = [_build(name, target, seed=seed, num_replicas=ranks, rank=rank) for rank in range(ranks)]
    for sampler in (alone, *parts):
        sampler.set_epoch(epoch)
    order, shares = list(alone), [list(part) for part in parts]
    block = OPTIONS["batch_size"] if hasattr(alone, "batch_size") else 1
    assert len(alone) == len(order)
    assert {len(part) for part in parts} == {len(share) for share in shares} == {len(shares[0])}
    blocks = [shares[i % ranks][j : j + block] for j in range(0, len(shares[0]), block) for i in range(ranks)]
    joined = [i for part in blocks for i in part]
    assert len(joined) - len(order) < ranks * block
    assert joined == (order * (len(joined) // len(order) + 1))[: len(joined)]
    assert set(order) <= set(range(len(target)))


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=20)
@given(counts=Counts, seed=st.integers(0, 1000))
def test_an_epoch_is_n_places_unless_stated(name: str, counts: list[int], seed: int) -> None:
    n, most, least, k = sum(counts), max(counts), min(counts), len(counts)
    stated = {
        "OverSampler": most * k,
        "UnderSampler": least * k,
        "StratifiedSampler": -(-n // 8) * 8,
        "MPerClassSampler": -(-n // 8) * 8,
    }
    for epoch in (1, 9):
        sampler = _build(name, _target(counts, seed), seed=seed)
        sampler.set_epoch(epoch)
        assert len(list(sampler)) == stated.get(name, n)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_drawn_is_what_the_correction_says(name: str) -> None:
    counts = np.array([700, 250, 100, 50])
    target = _target(counts)
    sampler = _final(_build(name, target))
    correction = sampler.correction()
    q = counts / counts.sum()
    if correction is not None:
        assert correction.kind == "sampling"
        q = q * np.exp(correction.log_shift)
    assert q.sum() == pytest.approx(1)
    seen = np.bincount(target[list(sampler)], minlength=4)
    assert chisquare(seen, q * seen.sum()).pvalue > 1e-4
    # Within a class no example is preferred.
    times = np.bincount(list(sampler), minlength=len(target))[target == 2]
    assert chisquare(times).pvalue > 1e-4


def test_a_shuffle_and_the_rest_of_the_samplers_draw_apart() -> None:
    target = _target((50, 50))
    a, b = (list(_build(name, target)) for name in ("ClassBalancedSampler", "SquareRootSampler"))
    assert np.mean(np.equal(a, b)) < 0.1  # equal frequencies and seeds, but not the same draws
    assert sorted(InstanceSampler([5, 5, 0])) == [0, 1, 2]
    assert InstanceSampler([5, 5, 0]).correction() is None


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("target", "words"),
    [
        ([], "got none"),
        ([0, -1, 1], "got -1"),
        ([0.0, 1.0], "torch.float64"),
        ([[0, 1], [1, 0]], r"\[2, 2\]"),
        (["cat", "dog"], "number the classes"),
        (TensorDataset(torch.zeros(4, 2), torch.arange(4)), "got a TensorDataset; give its labels, often"),
        (DataLoader([0, 1]), "got a DataLoader; give its labels"),
        ([(torch.zeros(2), 0), (torch.zeros(2), 1)], "got a list that is no row of numbers"),
        ([0, 2, 2], "none of class 1 and some of class 2"),
        ([0, 10**12], "none of class 1 and some of class 1000000000000"),
    ],
)
def test_samplers_refuse_targets_that_are_none(name: str, target: Any, words: str) -> None:
    if name == "InstanceSampler" and "none of class" in words:
        assert sorted(_build(name, target)) == list(range(len(target)))
        return
    with pytest.raises(InputError, match=f"target must .*{words}"):
        _build(name, target)


@pytest.mark.parametrize("name", NAMES)
def test_a_seed_of_numpy_is_a_seed(name: str) -> None:
    orders = [list(_build(name, _target(COUNTS), seed=seed)) for seed in (5, np.int64(5))]
    assert orders[0] == orders[1]


@pytest.mark.parametrize("kind", [list, tuple, np.array, torch.tensor, lambda t: np.array(t, np.uint8)[::-1]])
def test_targets_come_in_many_kinds(kind: Any) -> None:
    target = [0, 1, 1, 1, 2, 1, 1, 1, 0]  # reads the same backwards
    assert list(PowerSampler(kind(target))) == list(PowerSampler(target))


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("PowerSampler", {"power": float("inf")}, "power must be finite, got inf"),
        ("PowerSampler", {"power": float("nan")}, "power must be finite, got nan"),
        ("ReversedSampler", {"alpha": -1.0}, "alpha must be in .*, got -1"),
        ("ReversedSampler", {"per": "exampel"}, "did you mean 'example'"),
        ("OverSampler", {"ratio": 1.5}, "ratio must be in .*, got 1.5"),
        ("UnderSampler", {"ratio": 0.5}, "ratio must be in .*, got 0.5"),
        ("ProgressiveSampler", {"epochs": 0}, "epochs must be .* at least 1, got 0"),
        ("CooldownSampler", {"epochs": 2.5}, "epochs must be a whole number, got 2.5"),
        ("DeferredSampler", {"defer": -1}, "defer must be .* at least 0, got -1"),
        ("TwoPhaseSampler", {"phase": 1, "per_class": 0}, "per_class must be .*, got 0"),
        ("ClassAwareSampler", {"samples_per_class": 0}, "samples_per_class must be .*, got 0"),
        ("StratifiedSampler", {"batch_size": 2}, "number of classes 3, got 2; make batches larger"),
        ("MPerClassSampler", {"batch_size": 7, "m": 2}, "multiple of m=2 and at most m K = 6, got 7"),
        ("MPerClassSampler", {"batch_size": 8, "m": 2}, "at most m K = 6, got 8"),
        ("InstanceSampler", {"seed": 1.5}, "seed must be a whole number, got 1.5"),
        ("InstanceSampler", {"seed": "7"}, "seed must be a whole number, got '7'"),
        ("InstanceSampler", {"num_replicas": 2}, "given together, got 2 and None"),
        ("InstanceSampler", {"num_replicas": 2, "rank": 2}, "rank must be in 0 ... 1, got 2"),
        ("InstanceSampler", {"num_replicas": 0, "rank": 0}, "num_replicas must be at least 1, got 0"),
    ],
)
def test_samplers_refuse_options_out_of_range(name: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        getattr(samplers, name)(_target(COUNTS), **options)
