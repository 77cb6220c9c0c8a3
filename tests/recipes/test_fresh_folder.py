"""Failed beginnings leave nothing behind, and nothing of others is taken."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailgrad.checks import InputError
from tailgrad.recipes.fresh_folder import fresh_folder

FILES = ("config.yaml", "environment.json", "checkpoint/notes", "runs/a/config.yaml")


def fill(folder: Path, names: tuple[str, ...] = FILES) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)


def begin(folder: Path, work: Callable[[], object], error: BaseException | None = None) -> None:
    with fresh_folder(folder):
        work()
        raise error or InputError("no data")


def fail(folder: Path, error: BaseException, names: tuple[str, ...] = FILES) -> None:
    with pytest.raises(type(error)):
        begin(folder, lambda: fill(folder, names), error)


def tree(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.mark.parametrize("error", [InputError("no data"), OSError(28, "full"), PermissionError("shut")])
@pytest.mark.parametrize("place", ["run", "a/b/run"])
def test_everything_that_was_made_goes(tmp_path: Path, error: Exception, place: str) -> None:
    fail(tmp_path / place, error)
    assert tree(tmp_path) == set()


def test_an_empty_folder_of_the_user_s_stays_and_is_empty(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    fail(tmp_path / "run", InputError("no data"))
    assert tree(tmp_path) == {"run"}


def test_a_folder_that_held_something_stays_whole(tmp_path: Path) -> None:
    fill(tmp_path / "run", ("mine.txt",))
    fail(tmp_path / "run", InputError("no data"))
    assert {"run/mine.txt", *(f"run/{name}" for name in FILES)} <= tree(tmp_path)


@pytest.mark.parametrize(
    "name", ["checkpoint/last.safetensors", "runs/a/checkpoint/weights.safetensors", "runs/a/result.json"]
)
def test_a_finished_epoch_is_kept(tmp_path: Path, name: str) -> None:
    fail(tmp_path / "run", InputError("no data"), (*FILES, name))
    assert {f"run/{kept}" for kept in (*FILES, name)} <= tree(tmp_path)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("a defect"), ValueError("another")])
def test_other_errors_leave_what_they_need_to_be_understood(tmp_path: Path, error: BaseException) -> None:
    fail(tmp_path / "run", error)
    assert (tmp_path / "run" / "config.yaml").read_text() == "config.yaml"


def test_success_keeps_everything(tmp_path: Path) -> None:
    with fresh_folder(tmp_path / "a" / "run"):
        fill(tmp_path / "a" / "run")
    assert {f"a/run/{name}" for name in FILES} <= tree(tmp_path)


def test_parents_that_got_another_s_file_stay(tmp_path: Path) -> None:
    names = ("b/run/config.yaml", "theirs.txt")
    with pytest.raises(InputError):
        begin(tmp_path / "a" / "b" / "run", lambda: fill(tmp_path / "a", names))
    assert tree(tmp_path) == {"a", "a/theirs.txt"}


def test_what_a_link_points_to_stays(tmp_path: Path) -> None:
    fill(tmp_path / "elsewhere", ("kept.txt",))

    def work() -> None:
        (tmp_path / "run" / "link").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(InputError):
        begin(tmp_path / "run", work)
    assert tree(tmp_path) == {"elsewhere", "elsewhere/kept.txt"}


@pytest.mark.parametrize(
    "block",
    [
        lambda path: path.write_text("a file in the way"),
        lambda path: path.symlink_to(path.parent / "nowhere"),
    ],
)
def test_a_thing_in_the_way_is_left_alone(tmp_path: Path, block: Callable[[Path], object]) -> None:
    block(tmp_path / "run")
    before = os.lstat(tmp_path / "run")
    with pytest.raises(InputError):
        begin(tmp_path / "run", lambda: None)
    assert os.lstat(tmp_path / "run").st_ino == before.st_ino


def test_nothing_was_made_yet(tmp_path: Path) -> None:
    fail(tmp_path / "a" / "run", InputError("no data"), ())
    assert tree(tmp_path) == set()


@settings(max_examples=30)
@given(st.sets(st.sampled_from(["x", "y/x", "y/z/x", "z.json"]), max_size=4), st.integers(0, 3))
def test_the_tree_is_as_before_whatever_was_written(
    tmp_path_factory: pytest.TempPathFactory, names: set[str], depth: int
) -> None:
    root = tmp_path_factory.mktemp("fresh")
    fill(root, ("other.txt",))
    before = tree(root)
    fail(root.joinpath(*"abc"[:depth], "run"), InputError("no data"), tuple(sorted(names)))
    assert tree(root) == before
