"""Two processes and one folder: real processes, one of them killed."""

import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tailgrad.checks import InputError
from tailgrad.recipes import compare, train
from tailgrad.recipes.folder_lock import Held, folder_lock, holds_files
from tailgrad.recipes.fresh_folder import fresh_folder

HOLD = """
import sys
from pathlib import Path
from tailgrad.recipes.folder_lock import folder_lock
with folder_lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, subprocess.Popen[str]]]:
    """A folder that another process holds, with something of its own in it."""
    folder = tmp_path_factory.mktemp("lock") / "run"
    words = [sys.executable, "-c", HOLD, str(folder)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield folder, process
        process.kill()


def test_another_process_s_folder_is_refused_with_its_name(
    elsewhere: tuple[Path, subprocess.Popen[str]],
) -> None:
    folder, process = elsewhere
    with pytest.raises(Held) as refused, folder_lock(folder):
        pass
    said = str(refused.value)
    assert f"process {process.pid} on {platform.node()} since 20" in said
    assert re.search(r"\d\d:\d\d:\d\d\+00:00; wait until that ends, stop it, or choose another", said)


def test_train_and_compare_refuse_it_and_leave_it_as_it_is(
    elsewhere: tuple[Path, subprocess.Popen[str]], photos: Path, fast: dict[str, Any]
) -> None:
    folder, process = elsewhere
    before = {path: path.read_bytes() for path in folder.rglob("*")}
    assert before, "the lock itself"
    with pytest.raises(InputError, match=f"in use by process {process.pid}"):
        train(photos, "quick", overrides=fast, out=folder)
    with pytest.raises(InputError, match=f"in use by process {process.pid}"):
        compare(photos, ["ce"], seeds=1, regime="quick", overrides=fast, out=folder)
    assert {path: path.read_bytes() for path in folder.rglob("*")} == before


def test_a_killed_holder_blocks_nobody(elsewhere: tuple[Path, subprocess.Popen[str]]) -> None:
    folder, process = elsewhere
    process.kill()
    process.wait()
    assert list(folder.iterdir()), "what the killed process left behind"
    assert not holds_files(folder)
    with folder_lock(folder):
        pass
    assert list(folder.iterdir()) == []


def test_a_second_lock_in_this_process_is_refused_and_the_first_one_stays(tmp_path: Path) -> None:
    with folder_lock(tmp_path):
        for _ in range(2):
            with pytest.raises(Held, match=f"process {os.getpid()}"), folder_lock(tmp_path):
                pass
    with folder_lock(tmp_path):
        pass


def test_an_error_inside_gives_the_folder_back(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), folder_lock(tmp_path / "run"):
        raise ZeroDivisionError
    assert list((tmp_path / "run").iterdir()) == []


def test_what_a_damaged_holder_file_says_does_not_matter(tmp_path: Path) -> None:
    for content in (b"", b"[1]", b"\xff\xfe", b'{"process": "\x1b[31m"}'):
        with folder_lock(tmp_path):
            (tmp_path / ".lock.json").write_bytes(content)
            with pytest.raises(Held, match="in use by another process"), folder_lock(tmp_path):
                pass


def test_control_characters_of_a_holder_are_not_printed(tmp_path: Path) -> None:
    with folder_lock(tmp_path):
        (tmp_path / ".lock.json").write_text('{"process": 1, "machine": "a\\u001b[31mb", "since": "\\n"}')
        with pytest.raises(Held, match=r"process 1 on a\[31mb since ;"), folder_lock(tmp_path):
            pass


@pytest.mark.parametrize("place", ["file", "shut"])
def test_what_cannot_be_locked_is_left_to_the_first_write(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("in the way")
    with folder_lock(tmp_path / "file" / "run" if place == "shut" else tmp_path / "file"):
        pass
    assert (tmp_path / "file").read_text() == "in the way"


def test_a_refused_newcomer_takes_nothing_back(tmp_path: Path) -> None:
    with folder_lock(tmp_path / "run"):
        with pytest.raises(Held), fresh_folder(tmp_path / "run"):
            pass
        (tmp_path / "run" / "config.yaml").write_text("mine")
        with pytest.raises(Held), fresh_folder(tmp_path / "run"):
            pass
    assert (tmp_path / "run" / "config.yaml").read_text() == "mine"


def test_locks_and_halves_are_no_files(tmp_path: Path) -> None:
    for name in (".lock", ".lock.json", ".result.json.99.partial"):
        (tmp_path / name).write_text("")
    assert not holds_files(tmp_path)
    (tmp_path / ".hidden").write_text("")
    assert holds_files(tmp_path)
