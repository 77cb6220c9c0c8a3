"""Sources that cannot be trained on: status 2, one message, no folder left behind."""

import os
import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Draw = Callable[[Path, dict[str, int]], Path]


def empty(root: Path, draw: Draw) -> None:
    root.mkdir()


def no_classes(root: Path, draw: Draw) -> None:
    draw(root, {"a": 3})
    for image in (root / "a").iterdir():
        image.rename(root / image.name)


def one_class(root: Path, draw: Draw) -> None:
    draw(root, {"only": 5})


def few(root: Path, draw: Draw) -> None:
    draw(root, {"many": 8, "rare": 2})


def only_text(root: Path, draw: Draw) -> None:
    (root / "a").mkdir(parents=True)
    (root / "a" / "notes.txt").write_text("no images here")


BAD_FOLDERS = [
    (empty, "source folder must hold images, got none in 'photos'; put one folder of JPEG"),
    (only_text, "source folder must hold images, got none in 'photos'"),
    (no_classes, "must hold one folder a class, got 3 images without class folders"),
    (one_class, r"must hold images of at least 2 classes, got \['only'\] in 'photos'; add a class"),
    (few, "class 'rare' must have enough distinct images for train, val, test, got 2 images.*; add images"),
]


@pytest.mark.parametrize(("make", "said"), BAD_FOLDERS, ids=[make.__name__ for make, _ in BAD_FOLDERS])
@pytest.mark.parametrize("command", ["train", "compare", "diagnose"])
def test_a_folder_that_cannot_be_trained_on(
    cli: Any, make_photos: Draw, fast: list[str], here: Path, command: str, make: Any, said: str
) -> None:
    make(here / "photos", make_photos)
    refused = cli(command, "photos", *fast)
    assert re.search(said, refused.error)
    assert [path.name for path in here.iterdir()] == ["photos"]


def test_audit_refuses_what_cannot_be_opened_and_describes_the_rest(
    cli: Any, make_photos: Draw, here: Path
) -> None:
    few(here / "few", make_photos)
    done = cli("audit", "few")
    assert done.status == 0
    assert "'rare': fewer than 3 images, which cannot be split" in done.out
    empty(here / "empty", make_photos)
    assert "must hold images" in cli("audit", "empty").error


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("photo", "source must be a path that exists or a known name, got 'photo'"),
        ("digit-lt", "did you mean 'digits-lt'"),
        ("photos.zip", "unpack another archive first"),
        ("n" * 5000, "File name too long"),
    ],
)
def test_a_source_that_is_not_there(cli: Any, here: Path, source: str, said: str) -> None:
    (here / "photos.zip").write_bytes(b"PK")
    for command in ("audit", "train", "compare", "diagnose"):
        assert said in cli(command, source).error
    assert [path.name for path in here.iterdir()] == ["photos.zip"]


@pytest.mark.parametrize("words", [["audit", "My", "Photos"], ["train", "--method", "csba", "My", "Photos"]])
def test_a_path_with_spaces_and_without_quotes_is_recognised(cli: Any, here: Path, words: list[str]) -> None:
    assert "quotes" not in cli(*words).err
    (here / "My Photos").mkdir()
    refused = cli(*words)
    assert refused.status == 2
    said = " ".join(re.sub("[│╭╮╰╯─]", " ", refused.err).split())
    assert said.endswith("(Photos); a path with spaces goes in quotes: 'My Photos'")


LISTS = {
    "a label out of range": (
        "a.png,0\nb.png,1\nc.png,7\n",
        "label of line 4 of list.csv .* must lie in 0 ... 1",
    ),
    "a blank label": ("a.png,cat\nb.png,\n", "label of line 3 of list.csv .* must not be blank"),
    "a missing file": ("a.png,0\ngone.png,1\n", "line 3 of list.csv must name an image file, got 'gone.png'"),
    "a field too many": ("a.png,0\nb.png,1,2\n", "line 3 of list.csv must have 2 fields, got 3"),
    "no rows": ("", "must hold a header and a row for each image"),
}


@pytest.mark.parametrize(("rows", "said"), LISTS.values(), ids=LISTS)
def test_a_list_with_a_fault_names_the_line(
    cli: Any, make_photos: Draw, here: Path, rows: str, said: str
) -> None:
    make_photos(here, {"x": 3})
    for name, image in zip("abc", sorted((here / "x").iterdir()), strict=True):
        image.rename(here / f"{name}.png")
    (here / "list.csv").write_text(f"path,label\n{rows}")
    for command in ("audit", "train"):
        refused = cli(command, "list.csv")
        assert re.search(said, refused.error)
    assert not (here / "runs").exists()


def test_a_list_without_the_column(cli: Any, here: Path) -> None:
    (here / "list.csv").write_text("file,label\na.png,0\n")
    assert "must have a column 'path', got file, label" in cli("audit", "list.csv").error


def bomb(side: int = 60_000) -> bytes:
    """A PNG of some hundred bytes that announces side x side pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")


@pytest.fixture
def damaged(make_photos: Draw, here: Path) -> Path:
    """A folder with every kind of broken image, and a text file."""
    root = make_photos(here / "photos", {"round": 12, "square": 9, "thin": 8})
    whole = (root / "thin" / "00.png").read_bytes()
    (root / "thin" / "00.png").write_bytes(whole[: len(whole) // 2])
    (root / "thin" / "01.png").write_bytes(b"")
    (root / "round" / "00.png").write_bytes(whole[:40] + bytes(200) + whole[240:])
    (root / "square" / "text.jpg").write_text("this is a text file")
    (root / "square" / "bomb.png").write_bytes(bomb())
    (root / "square" / "notes.txt").write_text("this one is no image by its name")
    return root


BROKEN = ("thin/00.png", "thin/01.png", "round/00.png", "square/text.jpg", "square/bomb.png")


@pytest.mark.parametrize("command", ["train", "compare", "diagnose"])
@pytest.mark.parametrize("memory", ["resident", "streamed"])
def test_broken_images_are_all_named_at_once_with_the_remedy(
    cli: Any, damaged: Path, fast: list[str], here: Path, command: str, memory: str
) -> None:
    streamed = ["--set", "data.resident_gb=0", "--set", "data.workers=0"] if memory == "streamed" else []
    error = cli(command, "photos", *fast, *streamed).error
    assert "images must be readable, got 5 that are not" in error
    assert all(repr(name) in error for name in BROKEN)
    assert "notes.txt" not in error
    assert "--set data.skip_unreadable=true" in error
    assert [path.name for path in here.iterdir()] == ["photos"]


def test_broken_images_can_be_passed_over(cli: Any, damaged: Path, fast: list[str], here: Path) -> None:
    words = ["train", "photos", "--recipe", "quick", *fast, "--out", "run"]
    assert cli(*words).status == 2
    done = cli(*words, "--set", "data.skip_unreadable=true")
    assert done.status == 0, "the same folder can be used once the input is mended"
    assert "3 classes, 17 train, 4 val, 5 test" in done.err


def test_audit_lists_broken_images_and_what_it_passed_over(cli: Any, damaged: Path) -> None:
    text = cli("audit", "photos").out
    assert "Unreadable: 5" in text
    for name in BROKEN:
        assert f"  {name}: " in text
    assert "an empty file (0 bytes)" in text
    assert "DecompressionBombError" in text
    assert "Passed over: 1\n  square/notes.txt" in text
    assert "pass over them with --set data.skip_unreadable=true" in text


def test_a_bomb_is_refused_by_predict_too(cli: Any, run: Path, here: Path) -> None:
    (here / "bomb.png").write_bytes(bomb())
    done = cli("predict", run, "bomb.png")
    assert (done.status, done.out) == (0, "")
    assert "exceeds limit" in done.err


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read anything")
def test_a_folder_that_may_not_be_read(cli: Any, make_photos: Draw, here: Path) -> None:
    root = make_photos(here / "photos", {"a": 3, "b": 3})
    (root / "a").chmod(0)
    try:
        assert "change its permissions" in cli("audit", "photos").error
    finally:
        (root / "a").chmod(0o700)
