"""The command line called in this process, on a few small images."""

import contextlib
import io
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tailgrad.cli.app import main

FAST = (
    "data.size=48",
    "data.near_duplicates=false",
    "train.epochs=1",
    "train.batch_size=16",
    "train.precision=float32",
    "train.channels_last=false",
    "interference.enabled=false",
)


@dataclass(frozen=True)
class Outcome:
    status: Any
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one message of a command that refuses; fails where there is another, or anything on stdout."""
        lines = self.err.splitlines()
        assert (self.status, self.out) == (2, ""), self.err
        assert "Traceback" not in self.err
        assert [line for line in lines if line.startswith("error: ")] == lines[-1:]
        return lines[-1]


def call(*words: object) -> Outcome:
    out, err, before = io.StringIO(), io.StringIO(), sys.argv
    sys.argv = ["tailgrad", *map(str, words)]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main()
        status: Any = 0
    except SystemExit as stop:
        status = stop.code
    finally:
        sys.argv = before
    return Outcome(status, out.getvalue(), err.getvalue())


def draw(root: Path, counts: Mapping[str, int]) -> Path:
    """Textured images, one folder a class."""
    random = np.random.default_rng(0)
    for k, (name, count) in enumerate(counts.items()):
        (root / name).mkdir(parents=True)
        for i in range(count):
            noise = random.integers(0, 90, (48, 48, 3), dtype=np.uint8)
            noise[:, :, k % 3] += 120
            Image.fromarray(noise).save(root / name / f"{i:02d}.png")
    return root


@pytest.fixture(scope="session")
def cli() -> Callable[..., Outcome]:
    return call


@pytest.fixture(scope="session")
def fast() -> list[str]:
    """Options of a run that takes a second."""
    return [word for assignment in FAST for word in ("--set", assignment)]


@pytest.fixture(scope="session")
def make_photos() -> Callable[..., Path]:
    return draw


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw(tmp_path_factory.mktemp("data") / "photos", {"round": 12, "square": 9, "thin": 6})


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, so that default names lead nowhere else."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def run(photos: Path, fast: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with measurements."""
    folder = tmp_path_factory.mktemp("runs") / "one"
    measured = ["--set", "interference.enabled=true", "--set", "interference.max_per_class=4"]
    made = call("train", photos, "--recipe", "quick", *fast, *measured, "--out", folder)
    assert made.status == 0, made.err
    return folder


@pytest.fixture(scope="session")
def study(photos: Path, fast: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished study of two methods and one seed."""
    folder = tmp_path_factory.mktemp("studies") / "one"
    made = call("compare", photos, "--regime", "quick", "--seeds", 1, *fast, "--out", folder)
    assert made.status == 0, made.err
    return folder
