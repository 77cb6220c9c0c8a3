import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailgrad.checks import InputError
from tailgrad.evaluate import Confusion, confusion_matrix
from tailgrad.evaluate.cells import ROWS_UP_TO


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=60))
def test_agrees_with_the_matrix(pairs: list[tuple[int, int]]) -> None:
    predicted, target = map(list, zip(*pairs, strict=True))
    matrix, cells = confusion_matrix(predicted, target, 7), Confusion.counted(predicted, target, 7)
    np.testing.assert_array_equal(np.asarray(cells), matrix)
    np.testing.assert_array_equal(cells.correct, matrix.diagonal())
    np.testing.assert_array_equal(cells.support, matrix.sum(1))
    np.testing.assert_array_equal(cells.predicted, matrix.sum(0))
    assert cells.images == len(pairs)
    assert Confusion.of(matrix) == cells


@pytest.mark.parametrize("classes", [3, ROWS_UP_TO, ROWS_UP_TO + 1, 8142])
def test_files_hold_rows_for_few_classes_and_cells_for_many(classes: int) -> None:
    cells = Confusion.counted([0, classes - 1, 1, 1], [0, 0, 1, 1], classes)
    text = json.dumps(cells.to_json())
    assert Confusion.from_json(json.loads(text)) == cells
    assert isinstance(json.loads(text), list) == (classes <= ROWS_UP_TO)
    if classes > ROWS_UP_TO:
        assert json.loads(text) == {
            "num_classes": classes,
            "cells": [[0, 0, 1], [0, classes - 1, 1], [1, 1, 2]],
        }


def test_differs_by_classes_and_counts() -> None:
    one = Confusion.counted([0, 1], [0, 1], 2)
    assert one != Confusion.counted([0, 1], [0, 1], 3)
    assert one != Confusion.counted([0, 1, 1], [0, 1, 1], 2)
    assert one != [[1, 0], [0, 1]]


def test_bad_predictions_are_named() -> None:
    with pytest.raises(InputError, match=r"got predicted\[1\]=2"):
        Confusion.counted([0, 2], [0, 1], 2)
