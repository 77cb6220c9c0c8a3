"""Iterative stratification, and the two sources of several labels that are made."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailgrad.checks import InputError
from tailgrad.data import make_split, open_source
from tailgrad.data.label_split import split_labels
from tailgrad.data.label_tail import allot, tail_counts

SHARES = (0.65, 0.15, 0.2)


def drawn(seed: int, n: int = 300) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.random((n, 5)) < np.array([0.5, 0.3, 0.2, 0.1, 0.04])).astype(np.uint8)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 999))
def test_every_part_gets_its_share_of_every_label_and_of_the_images(seed: int) -> None:
    rows = drawn(seed)
    place = split_labels(rows, np.arange(len(rows)), SHARES, np.random.default_rng(seed))
    for p, share in enumerate(SHARES):
        inside = rows[place == p]
        assert np.abs(inside.sum(0) - share * rows.sum(0)).max() <= 3
        assert abs(len(inside) - share * len(rows)) <= 4
    # A plain random draw misses the rare label's share by more than that, on average over parts.
    assert set(np.unique(place)) == {0, 1, 2}


def test_the_rarest_label_is_shared_out_as_well_as_it_can_be() -> None:
    rows = np.zeros((40, 2), np.uint8)
    rows[:, 0], rows[:3, 1] = 1, 1
    place = split_labels(rows, np.arange(40), (0.5, 0.25, 0.25), np.random.default_rng(0))
    assert sorted(place[:3].tolist()) in ([0, 0, 1], [0, 0, 2], [0, 1, 2])
    assert [int((place == p).sum()) for p in range(3)] == [20, 10, 10]


def test_groups_stay_together_and_the_seed_fixes_the_parts() -> None:
    rows, group = drawn(1), np.arange(300) // 3
    first, again, other = (
        split_labels(rows, group, SHARES, np.random.default_rng(seed)) for seed in (5, 5, 6)
    )
    assert (first.reshape(-1, 3) == first.reshape(-1, 3)[:, :1]).all()
    assert (first == again).all()
    assert (first != other).any()


def test_parts_without_images_are_refused_or_filled() -> None:
    rows = np.ones((2, 2), np.uint8)
    with pytest.raises(InputError, match="at least one for each of 3 parts, got 2"):
        split_labels(rows, np.arange(2), SHARES, np.random.default_rng(0))
    place = split_labels(
        np.ones((3, 2), np.uint8), np.arange(3), (0.98, 0.01, 0.01), np.random.default_rng(0)
    )
    assert sorted(place.tolist()) == [0, 1, 2]


def test_what_a_source_brings_stays_and_the_rest_is_carved() -> None:
    source = open_source("patterns-multi-lt")
    split = make_split(source, groups=np.arange(len(source.items)))
    assert [len(part) for part in (split.train, split.val, split.test)] == [400, 200, 300]
    assert "rarest first" in split.method


def test_the_tail_has_exactly_its_counts() -> None:
    counts = tail_counts(220, 20, 10)
    assert counts[0] == 220
    assert counts[-1] == 11
    found = allot(counts, 400, 4, np.random.default_rng(3))
    assert tuple(found.sum(0).tolist()) == counts
    assert found.sum(1).max() <= 4
    with pytest.raises(InputError, match=r"got counts\[0\]=9 with 5 images left"):
        allot((9, 1), 5, 1, np.random.default_rng(0))


@pytest.mark.parametrize(("name", "labels"), [("digits-multi-lt", 10), ("patterns-multi-lt", 8)])
def test_made_sources_are_long_tailed_and_tested_evenly(name: str, labels: int) -> None:
    source = open_source(name)
    given = np.array(source.given)
    counts = {part: source.counts_of(np.flatnonzero(given == part)) for part in ("train", "val", "test")}
    assert len(counts["train"]) == labels
    assert counts["train"][0] == 20 * counts["train"][-1]
    assert len(set(counts["test"])) == 1
    assert source.items.load(0).shape == (16, 16, 3)
    again = open_source(name)
    assert all((source.items.load(i) == again.items.load(i)).all() for i in (0, 500, 899))


def test_parts_are_made_of_different_digits() -> None:
    from sklearn.datasets import load_digits

    from tailgrad.data.digits_multi import _pools

    pools = _pools(load_digits().target, np.random.default_rng(0))
    sets = [set(np.concatenate(found).tolist()) for found in pools.values()]
    assert sum(map(len, sets)) == len(set.union(*sets)) == 1797


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 999))
def test_with_groups_of_any_size_every_label_can_be_learnt(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = (rng.random((60, 4)) < np.array([0.5, 0.3, 0.05, 0.04])).astype(np.uint8)
    group = rng.integers(0, 25, 60)
    place = split_labels(rows, group, SHARES, np.random.default_rng(seed))
    assert set(np.unique(place)) == {0, 1, 2}
    assert all(len(set(place[group == one].tolist())) == 1 for one in set(group.tolist()))
    assert (rows[place == 0].any(0) == rows.any(0)).all()
