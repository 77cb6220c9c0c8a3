"""Lists of paths and class numbers, and annotation files, with their parts beside one another."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tailgrad.checks import InputError
from tailgrad.data import open_source
from tailgrad.data.parts import PARTS, part_in, without_part


def shade(path: Path, value: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (4, 3), value).save(path)


@pytest.fixture
def places(tmp_path: Path) -> Path:
    """Lists apart from the images, as the field ships them: classes 0 ... 2, a path with a space."""
    lists = {
        "train": ["a/abbey/1.png 0", "a/abbey/2.png 0", "b/bar room/1.png 1", "c/cave/1.png 2"],
        "val": ["a/abbey/3.png 0", "c/cave/2.png 2"],
        "test": ["c/cave/3.png 2", "b/bar room/2.png 1", "a/abbey/4.png 0"],
    }
    (tmp_path / "lists").mkdir()
    value = 0
    for part, lines in lists.items():
        (tmp_path / "lists" / f"Places_LT_{part}.txt").write_text("\n".join(lines) + "\n\n")
        for line in lines:
            value += 1
            shade(tmp_path / "images" / line.rpartition(" ")[0], value)
    return tmp_path


@pytest.mark.parametrize("part", ["train", "val", "test"])
def test_the_parts_of_a_set_are_opened_together_whichever_is_named(places: Path, part: str) -> None:
    source = open_source(places / "lists" / f"Places_LT_{part}.txt", root=places / "images")
    assert source.name == "lists-Places_LT"
    assert source.class_names == ("0", "1", "2")
    # files in order of name: test, train, val
    assert source.given == ("test",) * 3 + ("train",) * 4 + ("val",) * 2
    assert source.labels.tolist() == [2, 1, 0, 0, 0, 1, 2, 0, 2]
    assert source.items.name(5) == "b/bar room/1.png"
    assert [int(source.items.load(i).max()) for i in range(9)] == [7, 8, 9, 1, 2, 3, 4, 5, 6]


def test_a_list_alone_brings_no_split_and_lies_beside_its_images(tmp_path: Path) -> None:
    for name in ("x.png", "y.png"):
        shade(tmp_path / name, 1)
    (tmp_path / "all.txt").write_text("x.png\t0\ny.png\t1\n")
    (tmp_path / "notes_train.txt").write_text("nothing of ours")
    source = open_source(tmp_path / "all.txt")
    assert (source.given, source.labels.tolist()) == (("", ""), [0, 1])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1.png", r"line 2 of all\.txt must be a path, a space and a class number, got '1\.png'"),
        ("1.png cat", r"label on line 2 of all\.txt must be an integer.*got 'cat' after '1\.png'"),
        ("1.png -1", "must be an integer from 0 on, got '-1'"),
        ("1.png 1.0", "must be an integer from 0 on, got '1.0'"),
        ("1.png ²", "must be an integer from 0 on"),
        ("1.png 99999999999", "must be an integer from 0 on"),
        ("1.png 7", r"label of line 2 of all\.txt \('1\.png'\) must lie in 0 \.\.\. 0, got 7"),
        ("2.png 1", r"line 2 of all\.txt must name an image file, got '2\.png'.*data\.root"),
        (f"{'x' * 5000} 1", "line 2 of all.txt must name an image file"),
    ],
)
def test_what_is_wrong_with_a_line_is_said_with_its_number(tmp_path: Path, line: str, message: str) -> None:
    shade(tmp_path / "1.png", 1)
    (tmp_path / "all.txt").write_text(f"1.png 0\n{line}\n")
    with pytest.raises(InputError, match=message):
        open_source(tmp_path / "all.txt")


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "must hold a line for each image"), (b" \n\n", "must hold a line"), (b"\xff\xfe 0\n", "UTF-8")],
)
def test_lists_without_lines_or_of_other_text(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "all.txt").write_bytes(content)
    with pytest.raises(InputError, match=message):
        open_source(tmp_path / "all.txt")


def test_a_root_that_is_no_folder_is_named(places: Path) -> None:
    with pytest.raises(InputError, match=r"data\.root must be the folder .*got .*elsewhere"):
        open_source(places / "lists" / "Places_LT_val.txt", root=places / "elsewhere")
    with pytest.raises(InputError, match="label_column must be left out for a .txt list"):
        open_source(places / "lists" / "Places_LT_val.txt", label_column="x")


@given(st.text("abcXYZ019_-. ", max_size=12), st.sampled_from(sorted(PARTS)), st.sampled_from(sorted(PARTS)))
def test_names_of_parts_differ_in_one_word(text: str, one: str, other: str) -> None:
    first, second = f"{text}_{one}2018.json", f"{text}_{other}2018.json"
    assert (part_in(first), part_in(second)) == (PARTS[one], PARTS[other])
    assert without_part(first) == without_part(second) != first


def annotations(n: int, categories: dict[int, str], **more: Any) -> dict[str, Any]:
    ids = sorted(categories)
    return {
        "images": [{"id": 100 + i, "file_name": f"images/{i}.png", "license": 3} for i in range(n)],
        "annotations": [{"id": i, "image_id": 100 + i, "category_id": ids[i % len(ids)]} for i in range(n)][
            ::-1
        ],
        "categories": [{"id": k, "name": name, "supercategory": "Plantae"} for k, name in categories.items()],
    } | more


@pytest.fixture
def inaturalist(tmp_path: Path) -> Path:
    for i in range(6):
        shade(tmp_path / "images" / f"{i}.png", i)
    # ids with a gap, in another order than the names, two species of one name
    known = {7: "Acer", 2: "Quercus", 4: "Acer"}
    for part, n in {"train": 6, "val": 3}.items():
        (tmp_path / f"{part}2018.json").write_text(json.dumps(annotations(n, known)))
    (tmp_path / "test2018.json").write_text(json.dumps({"images": []}))
    return tmp_path


def test_annotation_files_of_all_parts(inaturalist: Path) -> None:
    source = open_source(inaturalist / "train2018.json")
    assert source.class_names == ("Quercus", "Acer (4)", "Acer (7)")
    assert source.given == ("train",) * 6 + ("val",) * 3
    assert source.labels.tolist() == [0, 1, 2, 0, 1, 2, 0, 1, 2]
    assert source.items.name(4) == "images/4.png"
    assert source.ignored == ("test2018.json",)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"images": None}, "must hold a list 'images', got nothing"),
        ({"annotations": {}}, "must hold a list 'annotations', got dict"),
        ({"images": [{"id": "1"}]}, r"images\[0\] of train2018\.json must have a field 'id' of type int"),
        (
            {"images": [{"id": 1, "file_name": "images/1.png"}]},
            r"image 1 \('images/1\.png'\).*must have a class",
        ),
        ({"annotations": [{"image_id": 100, "category_id": 9}]}, "must be one of 3 categories, got 9"),
        (
            {"annotations": [{"image_id": 100, "category_id": 2}, {"image_id": 100, "category_id": 4}]},
            "image 100 of train2018.json must have one class, got 2 and 4",
        ),
        (
            {"categories": [{"id": k, "name": "Other"} for k in (2, 4, 7)]},
            r"must agree on categories, got 'Acer \(7\)' for 7 in val2018\.json and 'Other \(7\)'",
        ),
    ],
)
def test_what_is_wrong_with_annotations(inaturalist: Path, more: dict[str, Any], message: str) -> None:
    content = annotations(6, {7: "Acer", 2: "Quercus", 4: "Acer"}) | more
    (inaturalist / "train2018.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=message):
        open_source(inaturalist / "train2018.json")


@pytest.mark.parametrize("content", [b"", b"{", b"[1, 2]", b"[" * 100_000, b"\xff"])
def test_what_are_no_annotations(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "all.json").write_bytes(content)
    with pytest.raises(InputError, match=r"annotations .*all\.json' must be"):
        open_source(tmp_path / "all.json")


def test_an_image_that_annotations_name_must_be_there(inaturalist: Path) -> None:
    (inaturalist / "images" / "5.png").unlink()
    with pytest.raises(
        InputError, match=r"an image of train2018\.json must name an image file, got 'images/5"
    ):
        open_source(inaturalist / "val2018.json")
