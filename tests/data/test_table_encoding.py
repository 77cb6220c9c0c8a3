"""The encoding of a table: fitted on training rows alone, whole, and back from its file."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailgrad.checks import InputError
from tailgrad.data.column import Categories, Numbers
from tailgrad.data.new_rows import open_new_rows
from tailgrad.data.table import TableRows, open_table
from tailgrad.data.table_encoding import UNSEEN, TableEncoding, load_encoding

FRAME = pa.table(
    {
        "age": [30.0, 50.0, None, 40.0, 90.0],
        "town": ["a", "b", None, "a", "z"],
        "flat": [1.0, 1.0, 1.0, 1.0, 9.0],
        "plain": ["u", "v", "u", "v", None],
        "y": ["no", "yes", "no", "yes", "no"],
    }
)


def fitted(train: list[int] | None = None) -> TableEncoding:
    source = open_table(FRAME, "y")
    return TableEncoding.fit(source.items, train or [0, 1, 2, 3], source.class_names)  # type: ignore[arg-type]


def test_numbers_are_standardised_with_what_training_rows_say() -> None:
    found = fitted().encode(open_table(FRAME, "y").items)  # type: ignore[arg-type]
    filled = np.array([30, 50, 40, 40, 90.0])
    expected = (filled - filled[:4].mean()) / filled[:4].std()
    np.testing.assert_allclose(found.numbers[:, 0], expected, rtol=1e-6)
    assert found.numbers[:, 1].tolist() == [0, 0, 1, 0, 0]
    assert found.filled == {"age": 1}


def test_unseen_words_missing_words_and_columns_of_one_value() -> None:
    encoding = fitted()
    found = encoding.encode(open_table(FRAME, "y").items)  # type: ignore[arg-type]
    assert encoding.dropped == ("flat",)
    assert encoding.cardinalities == (3, 2)
    assert found.categories[:, 0].tolist() == [1, 2, 3, 1, UNSEEN]
    assert found.categories[:, 1].tolist() == [1, 2, 1, 2, UNSEEN]  # training misses none of "plain"
    assert found.unseen == {"town": 1, "plain": 1}
    assert (encoding.size, encoding.discrete) == ((2, 2), (1,))


def test_rows_outside_training_change_nothing() -> None:
    assert fitted([0, 1, 2, 3]) == fitted([3, 2, 1, 0])
    assert fitted([0, 1, 2, 3]).sha256 != fitted([0, 1, 2, 4]).sha256


@settings(max_examples=25, deadline=None)
@given(st.lists(st.one_of(st.none(), st.floats(-1e6, 1e6)), min_size=3, max_size=30))
def test_encoded_numbers_are_finite_and_of_mean_zero(values: list[float | None]) -> None:
    x = np.array([np.nan if v is None else v for v in values])
    rows = TableRows([Numbers("x", x), Categories("w", np.arange(len(x)) % 2, ("a", "b"))], "y")
    found = TableEncoding.fit(rows, np.arange(len(x)), ("a", "b")).encode(rows).numbers
    assert np.isfinite(found).all()
    if found.shape[1]:
        assert abs(found[:, 0].mean()) < 1e-3 * max(1, abs(found[:, 0]).max())


def test_the_file_holds_all_of_it(tmp_path: Path) -> None:
    encoding = fitted()
    encoding.save(tmp_path / "encoding.json")
    assert load_encoding(tmp_path / "encoding.json") == encoding


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"format": "other"}', '{"format": "tailgrad table 1", "target": 3}', "NaN"]
)
def test_damaged_files_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "encoding.json").write_text(text)
    with pytest.raises(InputError, match=r"encoding.json must be the encoding of a run on a table, got"):
        load_encoding(tmp_path / "encoding.json")


def test_a_table_without_a_difference_in_training_is_refused() -> None:
    frame = pa.table({"x": [1, 1, 2], "y": ["a", "b", "a"]})
    source = open_table(frame, "y")
    with pytest.raises(InputError, match="one value in each of x; add features"):
        TableEncoding.fit(source.items, [0, 1], source.class_names)  # type: ignore[arg-type]


def test_new_rows_are_read_by_the_run_s_columns() -> None:
    table = pa.table({"town": ["b", "q"], "plain": ["u", "v"], "age": [50, None], "more": [1, 2]})
    found = open_new_rows(table, fitted())
    assert found.encoded.categories.tolist() == [[2, 1], [UNSEEN, 2]]
    assert found.labels == ()
    assert any("'town': 1 row with a category" in remark for remark in found.remarks)
    assert any("'age': 1 row without a value" in remark for remark in found.remarks)
    assert "column 'more' was not trained with and is passed over" in found.remarks
    assert open_new_rows(table.append_column("y", pa.array(["yes", None])), fitted()).labels == ("yes", "")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.drop_columns(["age"]), "must have the column 'age', which the run was trained with"),
        (
            lambda t: t.set_column(2, "age", pa.array(["old", "new"])),
            "'age' must hold numbers, as in training",
        ),
        (lambda t: t.append_column("y", pa.array(["yes", "may"])), r"must be a class of the run, got 'may'"),
    ],
)
def test_new_rows_that_do_not_fit(change: Any, words: str) -> None:
    table = pa.table({"town": ["b", "q"], "plain": ["u", "v"], "age": [50, 60]})
    with pytest.raises(InputError, match=words):
        open_new_rows(change(table), fitted())


def test_numbers_in_a_column_of_words_stay_words() -> None:
    frame = pa.table({"code": ["007", "12", "x"], "y": ["a", "b", "a"]})
    source = open_table(frame, "y")
    encoding = TableEncoding.fit(source.items, [0, 1, 2], source.class_names)  # type: ignore[arg-type]
    assert open_new_rows(pa.table({"code": [12, 13]}), encoding).encoded.categories.tolist() == [
        [2],
        [UNSEEN],
    ]
