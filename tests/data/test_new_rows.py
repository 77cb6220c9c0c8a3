"""New rows mean what they meant in training, in whatever kind a file holds them."""

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailgrad.checks import InputError
from tailgrad.data.new_rows import NewRows, open_new_rows, open_new_tables, row_places
from tailgrad.data.table import open_table
from tailgrad.data.table_encoding import UNSEEN, TableEncoding


def encoding_of(table: Any, categories: tuple[str, ...] = ()) -> TableEncoding:
    source = open_table(table, "y", categories=categories)
    rows: Any = source.items
    return TableEncoding.fit(rows, range(len(rows)), source.class_names)


def from_csv(folder: Path, old: str, new: str, categories: tuple[str, ...] = ()) -> NewRows:
    for name, text in (("old", old), ("new", new)):
        (folder / f"{name}.csv").write_text(text)
    return open_new_rows(folder / "new.csv", encoding_of(folder / "old.csv", categories))


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ([True, False, True], ["True", "False", "True"]),
        ([1.0, 0.0, 1.0], ["1", "0", "1"]),
        (pd.array([7, 3, 7], dtype="Int64"), ["7", "3", "7"]),
        (pd.Categorical(["lo", "hi", "lo"], categories=["lo", "hi"]), ["lo", "hi", "lo"]),
        (pd.to_datetime(["2020-01-02", "2020-01-01", "2020-01-02"]), None),
        (["01", "1 b", "01"], ["01", "1 b", "01"]),
    ],
)
def test_the_table_that_was_trained_on_brings_the_labels_of_training(values: Any, names: Any) -> None:
    table = pd.DataFrame({"x": [1.0, 2.0, 3.0], "y": values})
    source, labels = open_table(table, "y"), open_new_rows(table, encoding_of(table)).labels
    assert list(labels) == [source.class_names[k] for k in source.labels]
    assert names is None or list(labels) == names


@pytest.mark.parametrize(
    ("old", "new", "labels"),
    [
        ("1,True\n2,False\n", "1,TRUE\n2,false\n", ("True", "False")),
        ("1,yes\n2,True\n", "1,true\n2,\n", ("True", "")),
        ("1,01\n2,x\n", "1,01\n2,1\n", ("01", "01")),
        ("1,0\n2,1\n", "1,1.0\n2,\n", ("1", "")),
        ("1,2.50\n2,x\n", "1,2.5\n2,x\n", ("2.50", "x")),
    ],
)
def test_labels_are_told_by_what_they_mean(
    tmp_path: Path, old: str, new: str, labels: tuple[str, ...]
) -> None:
    assert from_csv(tmp_path, f"x,y\n{old}", f"x,y\n{new}").labels == labels


def test_a_label_of_another_meaning_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"must be a class of the run, got '0.5'; "):
        from_csv(tmp_path, "x,y\n1,0\n2,1\n", "x,y\n1,0.5\n2,1\n")


@pytest.mark.parametrize(
    ("old", "new", "positions"),
    [
        (["007", "12", "x"], ["007", "12"], [1, 2]),  # now whole numbers
        (["2.50", "1.0", "x"], ["2.5", "1"], [2, 1]),
        (["True", "no"], ["TRUE", "False"], [1, UNSEEN]),  # now truth values
        (["true", "false"], ["False", "unsure"], [1, UNSEEN]),  # no truth values any more
        (["7", "007", "x"], ["7", "x"], [2, 3]),  # the same word goes before the same number
        (["1e3", "x"], ["1000", "1e3"], [1, 1]),
        (["nan1", "inf"], ["inf", "Nan1"], [1, UNSEEN]),
    ],
)
def test_categories_are_told_by_what_they_mean(
    tmp_path: Path, old: list[str], new: list[str], positions: list[int]
) -> None:
    texts = [
        "c,x,y\n" + "".join(f"{word},{i},{'ab'[i % 2]}\n" for i, word in enumerate(words))
        for words in (old, new)
    ]
    assert from_csv(tmp_path, *texts).encoded.categories[:, 0].tolist() == positions


def test_numbers_as_categories_stay_so_beside_one_word(tmp_path: Path) -> None:
    """A single word turns a column of numbers into text, zeros before them included."""
    old = "zip,y\n007,a\n012,b\n007,b\n"
    found = from_csv(tmp_path, old, "zip,y\n007,a\n012,b\nlater,b\n", ("zip",))
    assert found.encoded.categories[:, 0].tolist() == [2, 1, UNSEEN]
    assert found.remarks == ("column 'zip': 1 row with a category that training has not seen",)


WORDS = st.text("abc -_.e019", min_size=1, max_size=6).map(str.strip).filter(bool)


@settings(max_examples=60, deadline=None)
@given(st.lists(WORDS, min_size=2, max_size=6, unique=True))
def test_words_of_training_are_themselves_whatever_else_there_is(words: list[str]) -> None:
    old = pa.table({"c": words, "y": ["a", "b", *["a"] * (len(words) - 2)]})
    encoding = encoding_of(old)
    found = open_new_rows(old, encoding).encoded.categories[:, 0].tolist()
    assert found == [1 + encoding.categories[0].words.index(word) for word in words]


@pytest.mark.parametrize("blank", [None, " "])
def test_numbers_that_are_all_blank_texts_are_missing(blank: str | None) -> None:
    encoding = encoding_of(pa.table({"age": [1.0, 2.0, 3.0], "y": ["a", "b", "a"]}))
    new = open_new_rows(pa.table({"age": pa.array([blank, blank], pa.string())}), encoding)
    assert new.remarks == ("column 'age': 2 rows without a value, taken as the training median",)
    assert new.encoded.numbers.tolist() == [[0.0], [0.0]]


def test_a_file_that_is_given_twice_is_there_twice(tmp_path: Path) -> None:
    for name, text in (("a", "x,y\n1,no\n2,yes\n"), ("b", "x,y\n3,no\n")):
        (tmp_path / f"{name}.csv").write_text(text)
    a, b = tmp_path / "a.csv", tmp_path / "b.csv"
    found = open_new_tables([a, b, str(a)], encoding_of(a), print)
    rows = [(f"{a}#0", "no"), (f"{a}#1", "yes")]
    assert row_places(found) == [*rows, (f"{b}#0", "no"), *rows]
    assert [len(each.encoded.numbers) for _, each in found] == [2, 1, 2]
