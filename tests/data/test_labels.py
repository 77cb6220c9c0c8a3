import numpy as np
import pytest

from tailgrad.checks import InputError
from tailgrad.data.labels import class_indices


def test_text_in_sorted_order():
    labels, names = class_indices([" dog", "cat", "Zebra", "dog"])
    assert names == ("Zebra", "cat", "dog")
    assert labels.tolist() == [2, 1, 0, 2]
    assert labels.dtype == np.int64


@pytest.mark.parametrize("values", [[2, 0, 1, 10], ["2", "0", "1", "10"]])
def test_integers_with_a_gap_are_out_of_range(values):
    with pytest.raises(InputError, match=r"label of item 3 must lie in 0 \.\.\. 2, got 10"):
        class_indices(values)


def test_integers_sort_as_numbers_and_may_begin_at_one():
    labels, names = class_indices([str(k) for k in range(12, 0, -1)])
    assert names == tuple(str(k) for k in range(1, 13))
    assert labels.tolist() == list(range(11, -1, -1))


@pytest.mark.parametrize("value", [-1, 2, 99])
def test_named_integers_out_of_range(value):
    with pytest.raises(InputError, match=rf"label of item 2 must lie in 0 \.\.\. 1, got {value};"):
        class_indices([0, 1, value], ["a", "b"])


def test_leading_zeros_make_names():
    assert class_indices(["10", "007", "10"])[1] == ("007", "10")


def test_negative_integers_are_out_of_range_without_names():
    with pytest.raises(InputError, match="label of item 1 must lie in"):
        class_indices([0, -1, 1])


@pytest.mark.parametrize("value", ["", "   ", None, float("nan")])
def test_blank(value):
    with pytest.raises(InputError, match="label of row 7 must not be blank"):
        class_indices(["a", value], where=lambda i: f"row {i + 6}")


def test_named_classes_keep_their_order_and_may_be_absent():
    labels, names = class_indices(["b", "z"], ["z", "y", "b"])
    assert (labels.tolist(), names) == ([2, 0], ("z", "y", "b"))
    labels, names = class_indices([1, 1], ["z", "y", "b"])
    assert (labels.tolist(), names) == ([1, 1], ("z", "y", "b"))


def test_text_that_looks_like_numbers_is_looked_up_among_the_names():
    assert class_indices(["1", "2"], ["2", "1"])[0].tolist() == [1, 0]


def test_text_outside_the_names():
    with pytest.raises(InputError, match="must be one of 2 class names, got 'c'"):
        class_indices(["a", "c"], ["a", "b"])


def test_names_of_any_kind_pass_through():
    names = ["<b>x</b>", 'quote "', "a/b\\c", "\N{GREEK SMALL LETTER ALPHA}", "n" * 300]
    labels, found = class_indices(names)
    assert sorted(found) == sorted(names)
    assert [found[k] for k in labels] == names
