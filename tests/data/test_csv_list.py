import csv
from pathlib import Path

import pytest
from PIL import Image

from tailgrad.checks import InputError
from tailgrad.data import open_source


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "img").mkdir()
    for shade in range(4):
        Image.new("L", (4, 4), shade).save(tmp_path / "img" / f"{shade}.png")
    return tmp_path


def write(folder: Path, *rows: tuple[object, ...], name: str = "list.csv", **options: str) -> Path:
    with (folder / name).open("w", newline="", encoding=options.pop("encoding", "utf-8")) as file:
        csv.writer(file, **options).writerows(rows)
    return folder / name


def test_paths_and_names(folder):
    file = write(folder, ("path", "label"), ("img/3.png", "dog"), ("img/0.png", " cat "))
    source = open_source(file)
    assert source.class_names == ("cat", "dog")
    assert source.labels.tolist() == [1, 0]
    assert source.items.name(0) == "img/3.png"
    assert source.items.load(0)[0, 0].tolist() == [3, 3, 3]
    assert source.name.endswith("-list")


def test_root_and_columns(folder):
    (folder / "lists").mkdir()
    rows = ("id", "file", "kind"), (1, "0.png", "1"), (2, "1.png", "2")
    file = write(folder / "lists", *rows)
    source = open_source(file, root=folder / "img", image_column="file", label_column="kind")
    assert source.class_names == ("1", "2")
    assert source.items.load(1).max() == 1


def test_tabs_byte_order_mark_and_blank_lines(folder):
    rows = ("label", "path"), ("a", "img/0.png"), (), ("b", "img\\1.png")
    file = write(folder, *rows, name="list.tsv", delimiter="\t", encoding="utf-8-sig")
    assert open_source(file).items.name(1) == "img/1.png"


def test_split_column(folder):
    rows = [("path", "label", "split")]
    rows += [(f"img/{k}.png", k % 2, part) for k, part in enumerate(["train", "Validation", "test", ""])]
    assert open_source(write(folder, *rows)).given == ("train", "val", "test", "")


def test_unknown_split_names_the_line(folder):
    file = write(folder, ("path", "label", "split"), ("img/0.png", 0, "train"), ("img/1.png", 1, "holdout"))
    with pytest.raises(InputError, match=r"split of line 3 of list\.csv .* got 'holdout'"):
        open_source(file)


def test_any_class_name(folder):
    names = ["<script>", 'a "quoted", one', "left/right", "\N{GREEK SMALL LETTER BETA}\n2", "n" * 300]
    rows = [("img/0.png", name) for name in names]
    assert sorted(open_source(write(folder, ("path", "label"), *rows)).class_names) == sorted(names)


def test_missing_file_names_row_and_file(folder):
    file = write(folder, ("path", "label"), ("img/0.png", "a"), ("img/9.png", "b"))
    with pytest.raises(InputError, match=r"line 3 of list\.csv must name an image file, got 'img/9\.png'"):
        open_source(file)


@pytest.mark.parametrize(("label", "message"), [("7", "got 7"), ("-1", "got -1"), (" ", "must not be blank")])
def test_bad_label_names_row_and_file(folder, label, message):
    file = write(folder, ("path", "label"), ("img/0.png", 0), ("img/1.png", 1), ("img/2.png", label))
    with pytest.raises(InputError, match=rf"line 4 of list\.csv \('img/2\.png'\).*{message}"):
        open_source(file)


def test_missing_column_names_the_nearest(folder):
    file = write(folder, ("path", "labels"), ("img/0.png", 0))
    with pytest.raises(
        InputError, match="must have a column 'label', got path, labels; did you mean 'labels'"
    ):
        open_source(file)
    with pytest.raises(InputError, match="must have a column '7'"):
        open_source(file, label_column="7")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "got 0 rows"),
        (b"path,label\n", "got 1 rows"),
        (b"path,label, label\nimg/0.png,a,b\n", "columns of list.csv must have.*got 'label' twice"),
        (b"path,label\nimg/0.png,a,b\n", "line 2 of list.csv must have 2 fields, got 3"),
        (b"path,label\n\xff\xfe,a\n", "UTF-8"),
        (b'path,label\n"img/0.png,a\n', "must be a CSV"),
        (b"path,label\nimg/0.png,a\nimg/1.png,a\n", "at least 2 classes"),
    ],
)
def test_files_that_are_no_lists(folder, content, message):
    (folder / "list.csv").write_bytes(content)
    with pytest.raises(InputError, match=message):
        open_source(folder / "list.csv")
