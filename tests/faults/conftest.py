"""Runs of tailgrad in processes that are really killed, on disks that really fail."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

from tailgrad.engine import load_weights

TINY = (
    "model.name=resnet8",
    "data.size=8",
    "data.near_duplicates=false",
    "data.imb_factor=40",
    "train.batch_size=64",
    "train.epochs=2",
    "train.precision=float32",
    "train.channels_last=false",
    "train.save_minutes=0",
    "interference.max_per_class=2",
    "interference.folds=0",
)
"""Settings of a run on the embedded digits that takes seconds and writes every kind of file."""


@dataclass(frozen=True)
class Ended:
    """How a process ended: its status, minus the number of a signal; what it printed; its writes in order."""

    status: int
    seconds: float
    out: str
    err: str
    events: list[str]

    @property
    def killed(self) -> bool:
        """Whether it was ended by SIGKILL."""
        return self.status == -9


class Server:
    """The process that runs commands in forks of itself (``serve.py``)."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("serve.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
        )
        assert self._line() == {"ready": True}

    def __call__(self, folder: Path, *words: object, **asked: Any) -> Ended:
        """Run a command in ``folder`` and wait for its end."""
        line = {"folder": str(folder), "words": [str(word) for word in words], **asked}
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(line) + "\n")
        self.process.stdin.flush()
        answer = self._line()
        err, _, events = answer.pop("err").partition("events: ")
        return Ended(**answer, err=err, events=json.loads(events or "[]"))

    def _line(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        found: dict[str, Any] = json.loads(self.process.stdout.readline())
        return found


@pytest.fixture(scope="session")
def attempt() -> Iterator[Server]:
    """``attempt(folder, "train", ..., seconds=1.5)``: one command in a process of its own."""
    server = Server()
    yield server
    server.process.stdin.close()  # type: ignore[union-attr]
    try:
        server.process.wait(timeout=60)
    except subprocess.TimeoutExpired:  # an interrupted test has left it with a run to wait for
        server.process.kill()
        server.process.wait()
    server.process.stdout.close()  # type: ignore[union-attr]


TRAIN = ("train", "digits-lt", "--method", "crt", "--out", "made")
COMPARE = ("compare", "digits-lt", "--methods", "ce,crt", "--seeds", "1", "--out", "made")


def _words(command: tuple[str, ...], *more: str) -> list[str]:
    settings = [*TINY, *more]
    return [*command, *(word for setting in settings for word in ("--set", setting))]


@pytest.fixture(scope="session")
def training() -> list[str]:
    """A training with a second stage, checkpoints at every step, measurements and a monitor."""
    return [*_words(TRAIN, "interference.monitor_every=3"), "--set", f"stages={json.dumps([_STAGE])}"]


_STAGE = {
    "name": "crt",
    "trains": "head",
    "head": "reset",
    "epochs": 2,
    "sampler": {"name": "class_balanced"},
    "optim": {"name": "sgd", "lr": 0.1},
}


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A study of two runs, one of them with a second stage."""
    path = tmp_path_factory.mktemp("methods") / "short_crt.yaml"
    content = {"head": {"name": "baseline"}, "loss": {"name": "cross_entropy"}, "stages": [_STAGE]}
    path.write_text(yaml.safe_dump(content))
    words = _words(COMPARE)
    words[words.index("ce,crt")] = f"ce,{path}"
    return words


@pytest.fixture(scope="session")
def whole_training(
    attempt: Any, training: list[str], contents: Any, tmp_path_factory: pytest.TempPathFactory
) -> Any:
    folder = tmp_path_factory.mktemp("whole")
    ended = attempt(folder, *training)
    assert ended.status == 0, ended.err
    return ended, contents(folder / "made")


@pytest.fixture(scope="session")
def whole_study(
    attempt: Any, study: list[str], contents: Any, tmp_path_factory: pytest.TempPathFactory
) -> Any:
    folder = tmp_path_factory.mktemp("whole")
    ended = attempt(folder, *study)
    assert ended.status == 0, ended.err
    return ended, contents(folder / "made")


def read(path: Path) -> Any:
    """The content of a file, without times; fails where it does not hold what its name says."""
    readers: dict[str, Callable[[Path], Any]] = {
        ".json": _json,
        ".jsonl": lambda p: [_timeless(json.loads(line)) for line in p.read_text().splitlines()],
        ".yaml": lambda p: _timeless(yaml.safe_load(p.read_text())),
        ".parquet": lambda p: pq.read_table(p).to_pylist(),
        ".safetensors": _tensors,
        ".npz": _arrays,
        ".html": _whole_page,
        "": lambda p: p.read_text(),
    }
    return readers[path.suffix](path)


def _json(path: Path) -> Any:
    content = json.loads(path.read_text())
    return None if path.name == "environment.json" else _timeless(content)


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _timeless(v) for k, v in value.items() if k not in ("seconds", "command", "since")}
    return [_timeless(v) for v in value] if isinstance(value, list) else value


def _tensors(path: Path) -> Any:
    tensors, meta = load_weights(path)
    return _timeless(meta), {name: (str(v.dtype), bytes(v.numpy())) for name, v in tensors.items()}


def _arrays(path: Path) -> Any:
    with np.load(path, allow_pickle=False) as arrays:
        return {name: (str(arrays[name].dtype), arrays[name].tobytes()) for name in arrays.files}


def _whole_page(path: Path) -> None:
    assert path.read_text().rstrip().endswith("</html>"), path


_PASSING = (".partial", ".lock", ".lock.json")


@pytest.fixture(scope="session")
def contents() -> Callable[[Path], dict[str, Any]]:
    """``contents(folder)``: everything a folder holds, by name."""
    return everything


def everything(folder: Path) -> dict[str, Any]:
    """Everything a folder holds, by name; what is still being written counts for nothing."""
    return {
        str(path.relative_to(folder)): read(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.endswith(_PASSING)
    }
