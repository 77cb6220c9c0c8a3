"""Several labels an image, from lists and from columns, and all that can be wrong with them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tailgrad.checks import InputError
from tailgrad.data import Source, make_split, open_source, save_split, split_hash
from tailgrad.data.label_lists import LabelLists, indicator_columns, listed_labels
from tailgrad.data.pictures import Pictures


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for i in range(4):
        Image.new("L", (4, 4), 60 * i).save(tmp_path / f"{i}.png")
    return tmp_path


def written(folder: Path, header: str, rows: list[str]) -> Path:
    file = folder / "list.csv"
    file.write_text("\n".join([header, *(f"{i}.png,{row}" for i, row in enumerate(rows))]) + "\n")
    return file


def test_lists_become_indicators(folder: Path) -> None:
    file = written(folder, "path,labels", ["dog; cat", "", "cat", "10"])
    source = open_source(file, several=LabelLists(column="labels"))
    assert source.class_names == ("10", "cat", "dog")
    assert source.indicators is not None
    assert source.indicators.tolist() == [[0, 1, 1], [0, 0, 0], [0, 1, 0], [1, 0, 0]]
    assert source.counts == (1, 2, 1)
    assert source.target(np.array([0])).tolist() == [[0.0, 1.0, 1.0]]


def test_columns_become_indicators_in_the_order_named(folder: Path) -> None:
    file = written(folder, "path,cat,dog", ["1,0", "0,0", "1,1", "0,1"])
    source = open_source(file, several=LabelLists(columns=("dog", "cat")))
    assert source.class_names == ("dog", "cat")
    assert source.counts_of(np.array([2, 3])) == (2, 1)


def test_labels_that_are_numbers_are_in_the_order_of_numbers() -> None:
    assert listed_labels(["10|9", "2"], "|")[1] == ("2", "9", "10")


def test_labels_can_be_dropped_and_images_without_any_refused(folder: Path) -> None:
    file = written(folder, "path,labels", ["dog;cat", "bird", "cat", "dog"])
    kept = open_source(file, several=LabelLists(column="labels", drop=("bird",)))
    assert kept.class_names == ("cat", "dog")
    with pytest.raises(InputError, match=r"every image must have a label, got 1 without, the first '1.png'"):
        open_source(file, several=LabelLists(column="labels", drop=("bird",), unlabelled="refuse"))
    with pytest.raises(InputError, match=r"drop_labels must name labels.*got 'brid'; did you mean 'bird'"):
        open_source(file, several=LabelLists(column="labels", drop=("brid",)))
    with pytest.raises(InputError, match="drop_labels must leave a label, got all 3 of them"):
        open_source(file, several=LabelLists(column="labels", drop=("bird", "cat", "dog")))


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (["cat;;dog", "", "", ""], r"line 2 of list.csv \('0.png'\) must stand between.*empty place"),
        (["cat", "dog; dog", "", ""], r"line 3 of list.csv \('1.png'\) must be different, got 'dog' twice"),
        (["", " ", "", ""], "labels must be there in some of 4 lists, got none"),
        (["cat", "cat", "", ""], r"at least 2 classes, got \['cat'\]"),
    ],
)
def test_bad_lists_are_named(folder: Path, rows: list[str], words: str) -> None:
    with pytest.raises(InputError, match=words):
        open_source(written(folder, "path,labels", rows), several=LabelLists(column="labels"))


@pytest.mark.parametrize("value", ["2", "", "yes", "0.5", "-1"])
def test_other_indicators_than_0_and_1_are_named(value: str) -> None:
    with pytest.raises(InputError, match=rf"column 'dog' of item 1 must hold 0 or 1, got '{value}'"):
        indicator_columns({"cat": ["1", "0"], "dog": ["0", value]})


def test_unknown_columns_are_named_with_the_key(folder: Path) -> None:
    file = written(folder, "path,cat,dog", ["1,0", "0,1", "1,1", "0,1"])
    with pytest.raises(
        InputError, match=r"a column 'dgo', got path, cat, dog; did you mean 'dog'.*label_columns"
    ):
        open_source(file, several=LabelLists(columns=("cat", "dgo")))
    with pytest.raises(InputError, match=r"a column 'labels'.*data.labels_column"):
        open_source(file, several=LabelLists(column="labels"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"column": "a", "columns": ("b",)}, "leave one out"),
        ({"column": "a", "separator": " "}, "a character that stands between labels"),
        ({"columns": ("a", "b", "a")}, "label_columns must be different, got 'a' twice"),
    ],
)
def test_options_that_contradict_are_refused(options: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        LabelLists(**options)  # type: ignore[arg-type]


def test_only_lists_of_images_have_several_labels(folder: Path) -> None:
    with pytest.raises(InputError, match=r"labels_column must be left out for digits-lt, got 'x'"):
        open_source("digits-lt", several=LabelLists(column="x"))
    with pytest.raises(InputError, match="drop_labels is for images with several labels, got 3"):
        open_source("digits-lt", several=LabelLists(drop=("3",)))


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (np.array([[1, 2]], np.uint8), r"indicators must be 0 or 1, got indicators\[0, 1\]=2"),
        (np.array([[1, 0]]), r"uint8 \[1, 2\].*got int64"),
        (np.array([[1]], np.uint8), r"uint8 \[1, 2\].*got uint8 \[1, 1\]"),
    ],
)
def test_sources_check_their_indicators(rows: np.ndarray, words: str) -> None:
    items = Pictures(np.zeros((1, 4, 4), np.uint8))
    with pytest.raises(InputError, match=words):
        Source("x", items, np.zeros(1, np.int64), ("a", "b"), ("",), indicators=rows)


def test_the_split_hash_knows_the_labels(tmp_path: Path) -> None:
    source = open_source("digits-multi-lt")
    split = make_split(source, groups=np.arange(len(source.items)))
    before = save_split(split, source, tmp_path / "split.json")
    assert before == split_hash(split, source)
    assert source.indicators is not None
    flipped = source.indicators.copy()
    flipped[int(split.train[0]), 0] ^= 1
    other = Source(**{**vars(source), "indicators": flipped})
    assert split_hash(split, other) != before
