import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailgrad.checks import InputError
from tailgrad.data import Profile, counts_for, imbalance_factor, longtail, shortfall

# methods E, "Data facts"
TOTALS = [
    (10, 5000, 10, 20_431),
    (10, 5000, 20, 17_023),
    (10, 5000, 50, 13_996),
    (10, 5000, 100, 12_406),
    (10, 5000, 200, 11_203),
    (100, 500, 10, 19_573),
    (100, 500, 20, 15_907),
    (100, 500, 50, 12_608),
    (100, 500, 100, 10_847),
    (100, 500, 200, 9_502),
]


@pytest.mark.parametrize(("classes", "n_max", "factor", "total"), TOTALS)
@pytest.mark.parametrize("inverted", [False, True])
def test_published_totals(classes, n_max, factor, total, inverted):
    profile = Profile("exponential", 1 / factor if inverted else factor)
    assert counts_for(profile, [n_max] * classes).sum() == total


def test_published_counts_of_cifar10_at_100():
    counts = counts_for(Profile("exponential", 100), [5000] * 10)
    assert counts.tolist() == [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]


@pytest.mark.parametrize(("value", "factor"), [(100, 100), (0.01, 100), (1, 1), (0.5, 2), (2, 2)])
def test_imbalance_factor_reads_both_ways(value, factor):
    assert imbalance_factor(value) == pytest.approx(factor, rel=1e-15)


@pytest.mark.parametrize("value", [0, -1, -0.01, math.nan, math.inf])
def test_impossible_imbalance_factor(value):
    with pytest.raises(InputError, match=f"imb_factor must be positive, got {value}"):
        imbalance_factor(value)


@given(
    st.sampled_from(["exponential", "step", "pareto"]),
    st.integers(2, 40),
    st.integers(1, 300),
    st.integers(300, 5000),
)
def test_every_kind_falls_from_n_max_to_n_max_over_f(kind, classes, factor, n_max):
    counts = counts_for(Profile(kind, factor), [n_max] * classes)
    assert counts[0] == n_max
    assert counts[-1] == n_max // factor
    assert (np.diff(counts) <= 0).all()


def test_step_and_pareto_by_hand():
    assert counts_for(Profile("step", 10), [50] * 5).tolist() == [50, 50, 5, 5, 5]
    # F = K makes the Pareto exponent 1: n_max / (c + 1)
    assert counts_for(Profile("pareto", 6), [60] * 6).tolist() == [60, 30, 20, 15, 12, 10]


def test_rounding_does_not_lose_an_image():
    # 49 * (1 / 49) is 0.9999999999999999 in floating point
    assert counts_for(Profile("exponential", 49), [49, 49]).tolist() == [49, 1]


def test_classes_are_capped_at_what_they_have():
    profile, available = Profile("exponential", 4), [100, 30, 20, 90]
    assert counts_for(profile, available).tolist() == [100, 30, 20, 25]
    assert shortfall(profile, available).tolist() == [0, 32, 19, 0]
    assert shortfall(Profile("explicit", counts=(1, 200, 3, 4)), available).tolist() == [0, 170, 0, 0]


def test_explicit_counts():
    assert counts_for(Profile("explicit", counts=(3, 1, 2)), [5, 5, 1]).tolist() == [3, 1, 1]
    with pytest.raises(InputError, match="got 2 for 3 classes"):
        counts_for(Profile("explicit", counts=(3, 1)), [5, 5, 5])


@pytest.mark.parametrize(
    "profile", [Profile("exponential", 100), Profile("step", 100), Profile("explicit", counts=(9, 0))]
)
def test_a_class_without_images_is_refused(profile):
    with pytest.raises(InputError, match="got 0 for class 1"):
        counts_for(profile, [50, 50])


@pytest.mark.parametrize(
    ("kind", "factor", "counts"),
    [
        ("exponential", None, None),
        ("explicit", None, None),
        ("step", 10, (1, 2)),
        ("explicit", 10, (1, 2)),
        ("exponentiel", 10, None),
        ("pareto", 0, None),
    ],
)
def test_profiles_that_make_no_sense(kind, factor, counts):
    with pytest.raises(InputError):
        Profile(kind, factor, counts)


def test_unknown_kind_names_the_nearest():
    with pytest.raises(InputError, match="did you mean 'exponential'"):
        Profile("exponentiel", 10)


@given(st.lists(st.integers(5, 30), min_size=2, max_size=6), st.integers(1, 5), st.integers(0, 10))
def test_longtail_takes_the_counts_once_each(sizes, factor, seed):
    labels = np.random.RandomState(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    profile = Profile("exponential", factor)
    kept = longtail(labels, profile, seed)
    assert np.bincount(labels[kept], minlength=len(sizes)).tolist() == counts_for(profile, sizes).tolist()
    assert (np.diff(kept) > 0).all()


def test_seed_decides_without_rank_only():
    labels = np.repeat([0, 1], 50)
    rank = np.tile(np.arange(50)[::-1], 2)
    profile = Profile("exponential", 5)
    assert np.array_equal(longtail(labels, profile, 1), longtail(labels, profile, 1))
    assert not np.array_equal(longtail(labels, profile, 1), longtail(labels, profile, 2))
    assert np.array_equal(longtail(labels, profile, 1, rank), longtail(labels, profile, 2, rank))
    assert longtail(labels, profile, 1, rank)[50:].tolist() == list(range(90, 100))


def test_smaller_profiles_are_nested_by_rank():
    labels = np.repeat(np.arange(4), 100)
    rank = np.concatenate([np.random.RandomState(k).permutation(100) for k in range(4)])
    small = longtail(labels, Profile("exponential", 50), 0, rank)
    large = longtail(labels, Profile("exponential", 5), 0, rank)
    assert set(small) < set(large)


def test_items_without_rank_are_never_chosen():
    labels = np.array([0, 0, 0, 1, 1, 1])
    rank = np.array([0, -1, 1, 1, 0, -1])
    assert longtail(labels, Profile("step", 2), 0, rank).tolist() == [0, 2, 4]


def test_ranks_with_gaps_keep_their_order():
    labels = np.array([0, 0, 0, 1, 1, 1])
    rank = np.array([9, 4, 7, 30, 10, 20])
    assert longtail(labels, Profile("explicit", counts=(2, 1)), 0, rank).tolist() == [1, 2, 4]


def test_a_named_class_without_candidates_is_refused():
    with pytest.raises(InputError, match="got 0 for class 2"):
        longtail(np.array([0, 0, 1]), Profile("exponential", 2), 0, num_classes=3)
