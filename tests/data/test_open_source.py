from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tailgrad.checks import InputError
from tailgrad.data import open_source

ARRAYS = (np.zeros((3, 4, 4), np.uint8), [0, 1, 1])


@pytest.fixture
def folder(tmp_path):
    for name in ("cat/1.png", "cat/2.png", "dog/1.png", "dog/2.png"):
        path = tmp_path / "set one" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4)).save(path)
    return tmp_path / "set one"


def test_a_source_is_returned_as_it_is():
    source = open_source(ARRAYS)
    assert open_source(source) is source


@pytest.mark.parametrize("kind", [str, Path])
def test_text_and_paths(folder, kind, monkeypatch):
    assert open_source(kind(folder)).name == "set-one"
    monkeypatch.chdir(folder)
    assert open_source(kind(".")).name == "set-one"


def test_home(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder.parent))
    assert open_source("~/set one").counts == (2, 2)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("digits", "did you mean 'digits-lt'"),
        ("cifar-100", "did you mean 'cifar100'"),
        ("CIFAR10-LT", "did you mean 'cifar10-lt'"),
        ("no/such/folder", "choose from digits-lt, cifar10"),
    ],
)
def test_unknown_name_names_the_nearest(name, hint):
    with pytest.raises(InputError, match=f"got '{name}'; {hint}"):
        open_source(name)


@pytest.mark.parametrize("name", ["x" * 5000, "a" * 300 + "/b.csv"])
def test_a_path_that_the_system_refuses(name):
    with pytest.raises(InputError, match=r"source must be readable, got .*File name too long"):
        open_source(name)


def test_file_of_another_kind(tmp_path):
    (tmp_path / "pictures.zip").write_bytes(b"PK")
    with pytest.raises(InputError, match=r"\.csv, .*\.parquet or \.tar, got .*pictures\.zip"):
        open_source(tmp_path / "pictures.zip")


@pytest.mark.parametrize("spec", [None, 7, 1.5])
def test_what_names_no_source(spec):
    with pytest.raises(InputError, match=f"source must be a name, a path.*got {spec}"):
        open_source(spec)


@pytest.mark.parametrize("option", ["root", "image_column", "label_column"])
@pytest.mark.parametrize("spec", ["digits-lt", ARRAYS])
def test_options_without_effect_are_refused(spec, option):
    with pytest.raises(InputError, match=f"{option} must be left out for .*, got 'x'"):
        open_source(spec, **{option: "x"})


def test_options_of_folders_and_named_sets(folder):
    with pytest.raises(InputError, match="label_column must be left out for a folder"):
        open_source(folder, label_column="x")
    with pytest.raises(InputError, match="image_column must be left out for cifar10"):
        open_source("cifar10", image_column="x")


def test_skip_unreadable(folder):
    (folder / "cat" / "2.png").write_bytes(b"")
    (folder / "dog" / "notes.txt").write_text("x")
    assert len(open_source(folder).items) == 4
    source = open_source(folder, skip_unreadable=True)
    assert [source.items.name(i) for i in range(3)] == ["cat/1.png", "dog/1.png", "dog/2.png"]
    assert source.labels.tolist() == [0, 1, 1]
    assert source.ignored == ("dog/notes.txt", "cat/2.png")


def test_a_class_lost_to_unreadable_files_counts_as_none(folder):
    for path in (folder / "dog").iterdir():
        path.write_bytes(b"")
    with pytest.raises(InputError, match=r"at least 2 classes, got \['cat'\]"):
        open_source(folder, skip_unreadable=True)


def test_one_class_in_arrays():
    with pytest.raises(InputError, match="at least 2 classes"):
        open_source((ARRAYS[0], [0, 0, 0]))
    with pytest.raises(InputError, match="at least 2 classes"):
        open_source((ARRAYS[0][:0], []))


def test_a_misspelt_folder_is_found_beside(tmp_path):
    (tmp_path / "solar modules ü").mkdir()
    with pytest.raises(InputError, match="did you mean '.*solar modules ü'"):
        open_source(str(tmp_path / "solar modules"))
    with pytest.raises(InputError, match="choose from digits-lt") as refused:
        open_source(str(tmp_path / "xyz"))
    assert "solar" not in str(refused.value)
