import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tailgrad.checks import InputError
from tailgrad.data import open_source
from tailgrad.data.folder import open_folder


def draw(root: Path, *names: str) -> Path:
    """Write an image of a shade of its own under each name."""
    for shade, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        kind = {".jpg": "JPEG", ".jpeg": "JPEG"}.get(path.suffix.lower())
        Image.new("RGB", (6, 4), (shade, shade, shade)).save(path, kind)
    return root


def contents(root: Path) -> dict[str, tuple[str, str]]:
    source = open_source(root)
    names = [source.items.name(i) for i in range(len(source.items))]
    labels = [source.class_names[k] for k in source.labels]
    return dict(zip(names, zip(labels, source.given, strict=True), strict=True))


def test_class_folders_with_nested_ones(tmp_path):
    draw(tmp_path, "b/1.png", "b/New/deep/2.JPG", "a/3.jpeg", "a/4.webp", "a/5.bmp", "a/6.tif", "a/7.gif")
    assert contents(tmp_path) == {
        "a/3.jpeg": ("a", ""),
        "a/4.webp": ("a", ""),
        "a/5.bmp": ("a", ""),
        "a/6.tif": ("a", ""),
        "a/7.gif": ("a", ""),
        "b/1.png": ("b", ""),
        "b/New/deep/2.JPG": ("b", ""),
    }


def test_items_read_the_file_they_name(tmp_path):
    source = open_source(draw(tmp_path, "a/1.png", "b/2.png", "b/3.jpg"))
    assert source.items.load(1).shape == (4, 6, 3)
    assert source.items.load(1).max() == 1
    assert source.items.stored(0) == (tmp_path / "a" / "1.png").read_bytes()
    assert [source.items.format(i) for i in range(3)] == ["PNG", "PNG", "JPEG"]
    assert source.items.size(2) == (4, 6)
    assert source.name == tmp_path.name


def test_other_files_are_listed_and_passed_over(tmp_path):
    draw(tmp_path, "a/1.png", "b/2.png", "loose.png", ".cache/c/3.png", "__MACOSX/a/4.png", "a/._1.png")
    (tmp_path / "a" / "notes.txt").write_text("hello")
    (tmp_path / "empty").mkdir()
    source = open_source(tmp_path)
    assert source.class_names == ("a", "b")
    assert len(source.items) == 2
    assert source.ignored == (
        ".cache/c/3.png",
        "__MACOSX/a/4.png",
        "a/._1.png",
        "a/notes.txt",
        "empty/",
        "loose.png",
    )


@pytest.mark.parametrize("val", ["val", "valid", "validation", "Val"])
def test_split_folders(tmp_path, val):
    draw(
        tmp_path,
        "train/a/1.png",
        "train/b/x/2.png",
        f"{val}/b/3.png",
        "test/a/4.png",
        "other/c/5.png",
        "test/6.png",
    )
    assert contents(tmp_path) == {
        "train/a/1.png": ("a", "train"),
        "train/b/x/2.png": ("b", "train"),
        f"{val}/b/3.png": ("b", "val"),
        "test/a/4.png": ("a", "test"),
    }
    assert open_source(tmp_path).ignored == ("other/c/5.png", "test/6.png")


def test_a_train_folder_alone_brings_no_split(tmp_path):
    assert set(contents(draw(tmp_path, "train/a/1.png", "train/b/2.png")).values()) == {("a", ""), ("b", "")}


def test_a_class_may_be_called_train(tmp_path):
    draw(tmp_path, "train/1.png", "bus/2.png")
    assert open_source(tmp_path).class_names == ("bus", "train")


def test_any_class_name(tmp_path):
    names = ["<i>x<", 'say "hi"', "\N{SNOWMAN}", "n" * 250, "a&b;'c"]
    source = open_source(draw(tmp_path, *(f"{name}/1.png" for name in names)))
    assert sorted(names) == list(source.class_names)
    assert source.items.load(0).shape == (4, 6, 3)


def test_linked_folders(tmp_path):
    draw(tmp_path / "real", "a/1.png", "b/2.png")
    (tmp_path / "links").mkdir()
    for k in "ab":
        (tmp_path / "links" / k).symlink_to(tmp_path / "real" / k)
    (tmp_path / "real" / "a" / "again").symlink_to(tmp_path / "real")
    assert set(contents(tmp_path / "links")) == {"a/1.png", "b/2.png"}


def test_empty_folder(tmp_path):
    with pytest.raises(InputError, match="must hold images, got none"):
        open_source(tmp_path)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "readme.txt").write_text("x")
    with pytest.raises(InputError, match="must hold images, got none"):
        open_source(tmp_path)


@pytest.mark.parametrize("names", [("1.png", "2.jpg"), ("train/1.png", "test/2.png")])
def test_images_without_class_folders(tmp_path, names):
    with pytest.raises(InputError, match="got 2 images without class folders"):
        open_source(draw(tmp_path, *names))


@pytest.mark.parametrize("names", [("a/1.png", "a/2.png"), ("train/a/1.png", "test/a/2.png")])
def test_one_class_only(tmp_path, names):
    (tmp_path / "b").mkdir()
    with pytest.raises(InputError, match=r"at least 2 classes, got \['a'\]"):
        open_source(draw(tmp_path, *names))


def test_a_folder_that_cannot_be_listed(tmp_path, monkeypatch):
    draw(tmp_path, "a/1.png", "b/2.png")
    scandir = os.scandir

    def refuse(path):
        if Path(path).name == "b":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(InputError, match=r"b: Permission denied"):
        open_folder(tmp_path)


def test_a_file_that_vanishes(tmp_path):
    source = open_source(draw(tmp_path, "a/1.png", "b/2.png"))
    (tmp_path / "b" / "2.png").unlink()
    for ask in (source.items.load, source.items.stored, source.items.size, source.items.format):
        with pytest.raises(InputError, match=r"b/2\.png.*No such file"):
            ask(1)


def test_order_is_that_of_names(tmp_path):
    draw(tmp_path, "b/2.png", "a/10.png", "a/9.png", "B/1.png")
    source = open_source(tmp_path)
    assert source.class_names == ("B", "a", "b")
    assert [source.items.name(i) for i in range(4)] == ["B/1.png", "a/10.png", "a/9.png", "b/2.png"]
    assert np.array_equal(source.labels, [0, 1, 1, 2])
