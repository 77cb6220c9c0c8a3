import json
import math
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailgrad.checks import InputError
from tailgrad.files import finite, write_json, write_text, write_with

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
)


@given(JSON)
def test_finite_values_survive_json_and_others_become_null(value: Any) -> None:
    text = json.dumps(finite(value), allow_nan=False)

    def same(a: Any, b: Any) -> bool:
        if isinstance(a, dict):
            return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
        if isinstance(a, list):
            return len(a) == len(b) and all(map(same, a, b))
        if isinstance(a, float) and not math.isfinite(a):
            return b is None
        return bool(a == b)

    assert same(value, json.loads(text))


def test_a_write_that_fails_leaves_the_old_file_and_no_partial(tmp_path: Path) -> None:
    path = write_text(tmp_path / "a.txt", "old")

    def fails(partial: Path) -> None:
        partial.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(InputError, match=r"cannot write .*a.txt: No space left on device; free some space"):
        write_with(path, fails)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_an_error_of_the_writer_itself_leaves_no_partial_either(tmp_path: Path) -> None:
    def fails(partial: Path) -> None:
        partial.write_text("half")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_with(tmp_path / "a.txt", fails)
    assert not list(tmp_path.iterdir())


def test_folders_are_made_and_names_kept(tmp_path: Path) -> None:
    path = write_json(tmp_path / "new" / "folder" / "ä.json", {"Straße": [1.5, float("nan")]})
    assert json.loads(path.read_text(encoding="utf-8")) == {"Straße": [1.5, None]}


def test_a_file_in_the_way_of_a_folder_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="choose a folder you may write to"):
        write_text(tmp_path / "file" / "a.txt", "x")


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_read_only_folder_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "shut").mkdir(mode=0o500)
    with pytest.raises(InputError, match="Permission denied"):
        write_text(tmp_path / "shut" / "a.txt", "x")
