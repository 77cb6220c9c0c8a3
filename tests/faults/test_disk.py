"""A disk that is full or may not be written: one clear error, nothing lost, a resumed run ends the same."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.long

NOBODY = 65534
KINDS_OF_A_RUN = (
    "config.yaml",
    "environment.json",
    "split.json",
    "metrics.jsonl",
    "weights.safetensors",
    "last.safetensors",
    "early.npz",
    "early.json",
    "begins-with",
    "done.safetensors",
    "final.safetensors",
    "predictions.parquet",
    "train.npz",
    "heldout.json",
    "result.json",
    "report.html",
)
KINDS_OF_A_STUDY = ("study.yaml", "speed.json", "comparison.json", "results.parquet", "report.html")


def refuses(ended: Any, reason: str) -> None:
    assert (ended.status, ended.out) == (2, ""), ended.err
    assert "Traceback" not in ended.err
    last = ended.err.splitlines()[-1]
    assert last.startswith("error: cannot write "), ended.err
    assert reason in last
    assert "; free some space or choose a folder you may write to" in last


def fill_up(
    attempt: Any, words: list[str], kinds: tuple[str, ...], made: Path, whole: Any, contents: Any
) -> None:
    """Let the write of each kind fail in turn, each in a process that goes on after the one before."""
    for kind in kinds:
        first = 3 if kind == "metrics.jsonl" else 1  # which begins empty, and fits on a full disk
        ended = attempt(made.parent, *words, "--resume", full=[f"clear .{kind}.partial", first])
        refuses(ended, "File too large")
        assert f"/{kind}: " in ended.err.splitlines()[-1]
        if made.exists():
            contents(made)
            assert not list(made.rglob("*.partial"))
    ended = attempt(made.parent, *words, "--resume")
    assert ended.status == 0, ended.err
    found = contents(made)
    assert [name for name in whole.keys() | found.keys() if found.get(name) != whole.get(name)] == []


def test_a_training_outlives_a_full_disk(
    attempt: Any, training: list[str], whole_training: Any, contents: Any, tmp_path: Path
) -> None:
    some = ("split.json", "last.safetensors", "predictions.parquet", "result.json")
    fill_up(attempt, training, some, tmp_path / "made", whole_training[1], contents)


@pytest.mark.slow
@pytest.mark.parametrize(("what", "kinds"), [("training", KINDS_OF_A_RUN), ("study", KINDS_OF_A_STUDY)])
def test_a_full_disk_at_every_kind_of_write(
    what: str, kinds: tuple[str, ...], attempt: Any, contents: Any, tmp_path: Path, request: Any
) -> None:
    words, (_, whole) = request.getfixturevalue(what), request.getfixturevalue(f"whole_{what}")
    fill_up(attempt, words, kinds, tmp_path / "made", whole, contents)


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system in memory of one megabyte."""
    folder = Path(tempfile.mkdtemp())
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        folder.rmdir()
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)
    shutil.rmtree(folder)


@pytest.mark.slow
def test_a_training_on_a_small_disk_ends_once_there_is_room(
    attempt: Any, training: list[str], whole_training: Any, contents: Any, small_disk: Path
) -> None:
    for kilobytes in (4, 40, 200, 400, 800, 1200, 1600, 2000, 2400, 2800, 3200):
        resize = f"remount,size={kilobytes}k"
        subprocess.run(["mount", "-o", resize, str(small_disk)], check=True)
        ended = attempt(small_disk, *training, "--resume")
        if ended.status == 0:
            break
        refuses(ended, "No space left on device")
        if (small_disk / "made").exists():
            contents(small_disk / "made")
    assert kilobytes > 400
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    assert attempt(small_disk, *training, "--resume").status == 0
    whole, found = whole_training[1], contents(small_disk / "made")
    assert [name for name in whole.keys() | found.keys() if found.get(name) != whole.get(name)] == []


@pytest.fixture
def owned() -> Iterator[Path]:
    """A folder of a user who is not the superuser, below others that everybody may search."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    if os.geteuid() == 0:
        os.chown(folder, NOBODY, NOBODY)
    yield folder
    for path in [folder, *folder.rglob("*")]:
        if path.is_dir():
            path.chmod(0o755)
    shutil.rmtree(folder)


def test_folders_that_may_not_be_written(
    attempt: Any, training: list[str], whole_training: Any, contents: Any, owned: Path
) -> None:
    user = {"user": NOBODY} if os.geteuid() == 0 else {}
    owned.chmod(0o555)
    refuses(attempt(owned, *training, **user), "Permission denied")
    owned.chmod(0o755)
    killed = attempt(owned, *training, event=["move .last.safetensors.partial", 3], **user)
    assert killed.killed, killed.err
    made = owned / "made"
    for folder in ("checkpoint", "."):
        (made / folder).chmod(0o555)
        refuses(attempt(owned, *training, "--resume", **user), "Permission denied")
        contents(made)
        (made / folder).chmod(0o755)
    # As ourselves: another user may not be able to read all of Python's own folder.
    ended = attempt(owned, *training, "--resume")
    assert ended.status == 0, ended.err
    whole, found = whole_training[1], contents(made)
    assert [name for name in whole.keys() | found.keys() if found.get(name) != whole.get(name)] == []
