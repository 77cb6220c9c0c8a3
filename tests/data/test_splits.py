import hashlib
import tracemalloc

import numpy as np
import pytest
from hypothesis import assume, given, reject, settings
from hypothesis import strategies as st

from tailgrad.checks import InputError
from tailgrad.data import Source, open_source
from tailgrad.data.splits import Split, make_split


class Counted:
    """Items of which only the number matters; loading one is an error."""

    def __init__(self, n):
        self.n = n

    def __len__(self):
        return self.n


def made(labels, given_parts=None, names=None):
    labels = np.asarray(labels, np.int64)
    names = names or tuple(f"class {k}" for k in range(labels.max() + 1))
    parts = tuple(given_parts) if given_parts is not None else ("",) * len(labels)
    return Source("made", Counted(len(labels)), labels, names, parts)


def alone(n):
    return np.arange(n)


def part_of(split, n):
    part = np.full(n, -1)
    for p, index in enumerate((split.train, split.val, split.test)):
        assert (part[index] == -1).all()
        part[index] = p
    return part


@st.composite
def grouped(draw, mixed=False):
    """Labels and groups; with ``mixed`` some groups hold several classes."""
    sizes = draw(st.lists(st.integers(3, 30), min_size=2, max_size=4))
    labels = np.repeat(np.arange(len(sizes)), sizes)
    spread = draw(st.floats(0, 0.8))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    order = rng.permutation(len(labels))
    labels, group = labels[order], np.arange(len(labels))
    for i in np.flatnonzero(rng.random(len(labels)) < spread):
        mates = (
            np.arange(len(labels)) if mixed and rng.random() < 0.2 else np.flatnonzero(labels == labels[i])
        )
        group[i] = group[rng.choice(mates)]
    return labels, group


@settings(max_examples=150, deadline=None)
@given(grouped(), st.floats(0.05, 0.4), st.floats(0.05, 0.45), st.integers(0, 2**31))
def test_groups_of_one_class_are_split_as_asked(case, val, test, seed):
    labels, group = case
    pieces = [len(np.unique(group[labels == k])) for k in range(labels.max() + 1)]
    assume(min(pieces) >= 3)
    source = made(labels)
    split = make_split(source, seed=seed, val=val, test=test, groups=group)
    part = part_of(split, len(labels))
    assert (part >= 0).all()
    for g in np.unique(group):
        assert len(set(part[group == g])) == 1
    for k in range(source.num_classes):
        inside = labels == k
        largest = np.bincount(group[inside]).max()
        for p, share in ((1, val), (2, test)):
            n = int((part[inside] == p).sum())
            assert n >= 1
            # The last training image is never given away, so a tiny class can get fewer than its share.
            wanted = min(max(1, share * inside.sum()), inside.sum() - 2)
            assert wanted - 2 * largest - 1 <= n <= max(1, share * inside.sum()) + largest
        assert (part[inside] == 0).any()
    again = make_split(source, seed=seed, val=val, test=test, groups=group)
    assert np.array_equal(part, part_of(again, len(labels)))


@settings(max_examples=150, deadline=None)
@given(grouped(mixed=True), st.integers(0, 1000))
def test_groups_of_several_classes_never_straddle(case, seed):
    labels, group = case
    source = made(labels)
    if min(len(np.unique(group[labels == k])) for k in range(source.num_classes)) < 3:
        with pytest.raises(InputError, match="duplicate groups"):
            make_split(source, seed=seed, groups=group)
        return
    try:
        split = make_split(source, seed=seed, groups=group)
    except InputError:  # two classes can want their only common group in different parts
        reject()
    part = part_of(split, len(labels))
    assert (part >= 0).all()
    assert all(len(set(part[group == g])) == 1 for g in group)
    assert all(set(part[labels == k]) == {0, 1, 2} for k in range(labels.max() + 1))
    assert split.groups_kept == (np.bincount(group) > 1).sum()


def test_without_groups_the_counts_are_exact_and_the_draw_is_uniform():
    labels = np.repeat([0, 1], [100, 20])
    hits = np.zeros(120)
    for seed in range(400):
        split = make_split(made(labels), seed=seed, groups=alone(120))
        assert np.bincount(labels[split.val]).tolist() == [15, 3]
        assert np.bincount(labels[split.test]).tolist() == [20, 4]
        hits[split.test] += 1
    # Each item lies in the test part with probability 1/5: mean 80, deviation 8.
    assert hits.min() > 80 - 5 * 8
    assert hits.max() < 80 + 5 * 8


def test_a_large_group_reaches_every_part_in_proportion():
    labels, group = np.zeros(200, int), np.arange(200)
    labels[-50:] = 1
    group[:8] = 0
    counts = np.zeros(3)
    for seed in range(300):
        counts[part_of(make_split(made(labels), seed=seed, groups=group), 200)[0]] += 1
    assert counts / 300 == pytest.approx([0.65, 0.15, 0.2], abs=0.1)


def test_seeds_give_different_splits_and_indices_ascend():
    source = made(np.repeat([0, 1], 50))
    tests = [make_split(source, seed=s, groups=alone(100)).test for s in range(5)]
    assert len({tuple(t.tolist()) for t in tests}) == 5
    assert all((np.diff(t) > 0).all() and t.dtype == np.int64 for t in tests)


def test_groups_are_found_where_none_are_told():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (12, 8, 8), dtype=np.uint8)
    source = open_source((np.concatenate([images, images]), np.tile([0, 1], 12)))
    for seed in range(5):
        part = part_of(make_split(source, seed=seed), 24)
        assert np.array_equal(part[:12], part[12:])


GIVEN = ["train"] * 24 + ["test"] * 6
LABELS = [0, 1] * 15


def test_a_given_test_part_stays_and_validation_comes_from_training():
    split = make_split(made(LABELS, GIVEN), val=0.25, groups=alone(30))
    assert split.test.tolist() == list(range(24, 30))
    assert split.val.max() < 24
    assert np.bincount(np.array(LABELS)[split.val]).tolist() == [3, 3]
    assert len(split.train) == 18
    assert split.method.startswith("test as given by the source, val 0.25 of the rest")


def test_given_parts_both_stay():
    parts = ["train"] * 20 + ["val"] * 4 + ["test"] * 6
    split = make_split(made(LABELS, parts), groups=alone(30))
    assert [len(index) for index in (split.train, split.val, split.test)] == [20, 4, 6]
    assert split.val.tolist() == [20, 21, 22, 23]


def test_a_given_validation_part_stays_and_the_test_part_is_carved():
    parts = ["train"] * 20 + ["val"] * 10
    split = make_split(made(LABELS, parts), test=0.2, groups=alone(30))
    assert split.val.tolist() == list(range(20, 30))
    assert np.bincount(np.array(LABELS)[split.test]).tolist() == [2, 2]
    assert split.test.max() < 20


def test_unmarked_items_beside_a_given_test_part_are_for_training():
    split = make_split(made(LABELS, [""] * 24 + ["test"] * 6), groups=alone(30))
    assert len(split.train) + len(split.val) == 24


def test_copies_of_given_test_images_are_reported_and_left():
    group = alone(30)
    group[[3, 7, 25]] = 3
    group[[10, 26, 28]] = 10
    group[[12, 14]] = 12
    split = make_split(made(LABELS, GIVEN), groups=group)
    assert split.leakage == ((3, 25), (7, 25), (10, 26), (10, 28))
    assert split.test.tolist() == list(range(24, 30))
    assert split.groups_kept == 1  # the other group is tied to the given test part
    part = part_of(split, 30)
    assert part[12] == part[14]
    assert part[3] == part[7]


def test_carved_test_parts_have_no_leakage():
    group = alone(30)
    group[[3, 7, 25]] = 3
    assert make_split(made(LABELS), groups=group).leakage == ()


def test_a_smaller_training_part_keeps_the_rest():
    group = alone(30)
    group[[3, 25]] = 3
    split = make_split(made(LABELS, GIVEN), groups=group)
    kept = [i for i in split.train.tolist() if i != 3][:5]
    thin = split.with_train(kept[::-1])
    assert thin.train.tolist() == sorted(kept)
    assert thin.val is split.val
    assert thin.test is split.test
    assert thin.leakage == (() if 3 in split.train else split.leakage)
    with pytest.raises(InputError, match=r"training part, got 25 \(and 1 more\)"):
        split.with_train([*kept, 25, 26])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"val": 0}, r"val must be in \(0, 1\), got 0"),
        ({"val": 1.0}, r"val must be in \(0, 1\), got 1.0"),
        ({"test": -0.1}, r"test must be in \(0, 1\), got -0.1"),
        ({"test": float("nan")}, r"test must be in \(0, 1\), got nan"),
        ({"val": 0.5, "test": 0.5}, r"below 1, got 0.5 \+ 0.5 = 1"),
        ({"seed": -1}, r"seed must be in \[0, inf\], got -1"),
        ({"groups": ["a"] * 30}, r"groups must be whole numbers, got <U1; number them"),
        ({"groups": [0.5] * 30}, r"groups must be whole numbers, got float64; number them"),
        ({"groups": [0, 1]}, r"one entry an item, got shape \(2,\) for 30 items"),
    ],
)
def test_wrong_arguments_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        make_split(made(LABELS), **{"groups": alone(30), **options})


def test_a_class_with_too_few_images_is_named_with_its_count():
    source = made([0] * 10 + [1] * 2, names=("many", "rare <b>"))
    with pytest.raises(
        InputError, match=r"class 'rare <b>' .*train, val, test, got 2 images in 2 .*add images"
    ):
        make_split(source, groups=alone(12))


def test_a_class_whose_images_are_copies_is_refused():
    group = alone(20)
    group[10:19] = 10
    with pytest.raises(InputError, match=r"'class 1' .* got 10 images in 2 duplicate groups"):
        make_split(made([0] * 10 + [1] * 10), groups=group)


def test_a_class_without_images_is_refused():
    with pytest.raises(InputError, match=r"class 'none' .* got 0 images"):
        make_split(made([0, 1] * 10, names=("a", "b", "none")), groups=alone(20))


def test_a_given_test_part_needs_two_training_images_a_class():
    labels, parts = [0] * 6 + [1] * 2 + [0, 1], ["train"] * 8 + ["test"] * 2
    split = make_split(made(labels, parts), groups=alone(10))
    assert sorted(np.array(labels)[split.val].tolist()) == [0, 1]
    with pytest.raises(InputError, match=r"'class 1' .* train, val, got 1 images"):
        make_split(made(labels[1:7] + labels[8:], parts[1:7] + parts[8:]), groups=alone(8))


def test_three_images_are_enough_for_three_parts():
    for seed in range(20):
        split = make_split(made([0] * 30 + [1] * 3), seed=seed, val=0.4, test=0.5, groups=alone(33))
        for index in (split.train, split.val, split.test):
            assert (index >= 30).sum() == 1


def test_splits_compare_by_identity():
    index = np.arange(2)
    assert Split(index, index, index, seed=0) != Split(index, index, index, seed=0)


@given(st.integers(0, 1000), st.sampled_from(["train val", "train test", "train val test"]))
def test_no_carved_part_takes_a_copy_of_a_given_one(seed: int, brought: str) -> None:
    random = np.random.default_rng(seed)
    n, parts = 80, brought.split()
    labels = np.arange(n) % 2
    others = len(parts) - 1
    brings = tuple(parts[i] for i in random.choice(len(parts), n, p=[0.6] + [0.4 / others] * others))
    groups = np.arange(n)
    for i, j in random.choice(n, (12, 2)):
        groups[groups == groups[j]] = groups[i]
    source = made(labels, brings)
    split = make_split(source, seed=seed, groups=groups)
    place = {int(i): part for part in ("train", "val", "test") for i in getattr(split, part)}
    pairs = {
        (i, j)
        for i in range(n)
        for j in range(n)
        if i != j and groups[i] == groups[j] and place[i] != place[j]
    }
    for i, j in pairs:
        assert {brings[i], brings[j]} & {"val", "test"}, "two carved parts share a group"
        carved = [k for k in (i, j) if brings[k] == "train"]
        assert all(place[k] == "train" for k in carved)
    assert {frozenset(pair) for pair in pairs} == {frozenset(pair) for pair in split.leakage}
    assert len(split.leakage) == len(pairs) / 2


def test_many_classes_cost_no_table_of_images_by_classes():
    """8 bytes for each of 30,000 images and 2,000 classes would be 480 MB."""
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(2000), 15))
    group = alone(len(labels))
    group[:3000:2] = group[1:3000:2]
    tracemalloc.start()
    split = make_split(made(labels), seed=1, groups=group)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 50e6
    part = part_of(split, len(labels))
    assert (part >= 0).all()
    assert (part[:3000:2] == part[1:3000:2]).all()
    counts = np.stack([np.bincount(labels[part == p], minlength=2000) for p in range(3)])
    assert counts.min() >= 1
    assert abs(counts[1:].sum(1) / len(labels) - [0.15, 0.2]).max() < 0.03


def test_splits_stay_what_they_were():
    """From the first version on: published figures rest on them."""
    source = open_source("digits-lt")
    labels = np.random.default_rng(3).integers(0, 7, 300)
    group = alone(300)
    group[50:130] = group[130:210] // 3
    found = [
        make_split(source, seed=5, groups=alone(len(source.labels))),
        make_split(made(labels), seed=9, val=0.2, test=0.3, groups=group),
    ]
    digests = [
        hashlib.sha256(repr([getattr(split, part).tolist() for part in ("train", "val", "test")]).encode())
        for split in found
    ]
    assert [digest.hexdigest()[:16] for digest in digests] == ["6952854764e2e020", "95a1e9424fa24043"]
