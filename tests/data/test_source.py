from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailgrad.checks import InputError
from tailgrad.data import Profile, Source, choose, open_source
from tailgrad.data.source import brought_split, safe_name


@pytest.fixture
def source() -> Source:
    images = np.arange(5 * 4 * 6, dtype=np.uint8).reshape(5, 4, 6)
    opened = open_source((images, ["b", "a", "b", "c", "a"]))
    parts = ("train", "test", "train", "val", "train")
    return replace(opened, given=parts, rank=np.array([1, -1, 0, -1, 0]), profile=Profile("step", 2))


def test_counts_and_classes(source):
    assert source.class_names == ("a", "b", "c")
    assert source.counts == (2, 2, 1)
    assert source.num_classes == 3


@pytest.mark.parametrize(
    "change",
    [
        {"labels": np.zeros(4, np.int64)},
        {"given": ("",) * 6},
        {"rank": np.zeros(2, np.int64)},
        {"labels": np.array([0, 1, 2, 3, 0])},
        {"labels": np.array([0, 1, 2, -1, 0])},
        {"given": ("train", "dev", "", "", "")},
    ],
)
def test_what_does_not_fit_is_refused(source, change):
    with pytest.raises(InputError):
        replace(source, **change)


def test_choose_keeps_everything_of_an_item_together(source):
    small = choose(source, [4, 0, 3])
    assert small.labels.tolist() == [0, 1, 2]
    assert small.given == ("train", "train", "val")
    assert small.rank.tolist() == [0, 1, -1]
    assert small.profile == source.profile
    assert len(small.items) == 3
    for new, old in enumerate([4, 0, 3]):
        for ask in ("name", "stored", "format", "size"):
            assert getattr(small.items, ask)(new) == getattr(source.items, ask)(old)
        assert np.array_equal(small.items.load(new), source.items.load(old))


def test_choose_twice_is_choosing_the_composition(source):
    twice = choose(choose(source, [3, 1, 0]), [2, 0])
    assert [twice.items.name(i) for i in range(2)] == ["row 0", "row 3"]


@given(st.text())
def test_safe_names_are_safe(text):
    name = safe_name(text)
    assert 0 < len(name) <= 60
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
    assert name[0] not in ".-"
    assert safe_name(name) == name.strip("-._") or len(text) > 60


def test_one_part_alone_is_no_split():
    assert brought_split(["test", "test"]) == ("", "")
    assert brought_split(["train", "", "test"]) == ("train", "", "test")
    assert brought_split([]) == ()
