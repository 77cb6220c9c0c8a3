"""Runs whose images are decoded while they train: the same result, damaged images, killed workers."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from tailgrad.checks import InputError
from tailgrad.recipes import RunFolder, train
from tailgrad.recipes.compose import compose, merge
from tailgrad.recipes.config import Config
from tailgrad.recipes.prepare import prepare
from tailgrad.recipes.prepared import Prepared
from tailgrad.recipes.run_config import run_config
from tailgrad.recipes.talk import Talk

pytestmark = pytest.mark.long


class Heard(Talk):
    """What was said."""

    def __init__(self) -> None:
        super().__init__(None)
        self.said: list[str] = []

    def __call__(self, text: str) -> None:
        self.said.append(text)


@pytest.fixture
def pictures(photos: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(photos, tmp_path / "photos"))


def test_a_streamed_run_ends_as_one_from_memory(photos: Path, fast: dict[str, Any], tmp_path: Path) -> None:
    ends = []
    for resident, workers in (("memory", 0), ("stream", 2)):
        above = merge(fast, {"data": {"resident": resident, "workers": workers}})
        run = train(photos, "quick", overrides=above, out=tmp_path / resident)
        ends.append((run.result, load_file(tmp_path / resident / "checkpoint" / "last.safetensors")))
    (one, weights), (other, streamed) = ends
    assert all(weights[name].equal(streamed[name]) for name in weights)
    assert one["test"] == other["test"]
    assert other["unreadable"] == {"count": 0, "names": []}


def damaged(pictures: Path, above: dict[str, Any]) -> tuple[Config, Prepared]:
    """Data of which one image of each part is damaged once the split is made."""
    config = compose(
        str(pictures), "quick", "ce", merge(above, {"data": {"resident": "stream", "workers": 1}})
    )
    ready = prepare(config)
    for part in ("train", "test"):
        (pictures / ready.name(int(ready.index(part)[0]))).write_bytes(b"not an image any more")
    return config, ready


def run_damaged(pictures: Path, above: dict[str, Any], out: Path, talk: Talk) -> dict[str, Any]:
    config, ready = damaged(pictures, above)
    return run_config(config, RunFolder(out), prepared=ready, talk=talk).result


def test_images_damaged_while_training_are_passed_over_and_counted(
    pictures: Path, fast: dict[str, Any], tmp_path: Path
) -> None:
    heard = Heard()
    result = run_damaged(pictures, merge(fast, {"data": {"on_unreadable": "skip"}}), tmp_path / "run", heard)
    assert result["unreadable"]["count"] == 2
    assert all(
        (pictures / name).read_bytes() == b"not an image any more" for name in result["unreadable"]["names"]
    )
    assert json.loads((tmp_path / "run" / "result.json").read_text())["unreadable"] == result["unreadable"]
    said = [text for text in heard.said if "passed over" in text]
    assert len(said) == 2  # once in the first epoch, not again in the second, and at the end
    assert "by the end of epoch 1: 1 image that cannot be read" in said[0]
    assert "2 images that cannot be read" in said[1]
    assert "21 bytes that are no" in said[1]


def test_images_passed_over_are_still_counted_where_only_the_end_of_a_run_is_left(
    pictures: Path, fast: dict[str, Any], tmp_path: Path
) -> None:
    config, ready = damaged(pictures, merge(fast, {"data": {"on_unreadable": "skip"}}))
    folder = RunFolder(tmp_path / "run")
    whole = run_config(config, folder, prepared=ready).result["unreadable"]
    folder.result_file.unlink()  # as if killed before it was written: no epoch meets the image again
    assert run_config(config, folder, prepared=ready, resume=True).result["unreadable"] == whole
    assert whole["count"] == 2


def test_an_image_damaged_while_training_stops_the_run_with_its_name(
    pictures: Path, fast: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"image '\w+/\d+\.png' must be readable, got: 21 bytes"):
        run_damaged(pictures, fast, tmp_path / "run", Heard())


COMMAND = "from tailgrad.cli import main; main()"


def start(pictures: Path, out: Path, *more: str) -> "subprocess.Popen[str]":
    words = ["train", str(pictures), "--recipe", "quick", "--out", str(out)]
    keys = {
        "data.size": 48, "data.near_duplicates": "false", "data.resident": "stream", "data.prefetch": 1,
        "train.epochs": 3, "train.batch_size": 4, "train.precision": "float32",
        "train.channels_last": "false", "train.device": "cpu", "train.save_minutes": 0,
        "interference.enabled": "false",
    }  # fmt: skip
    settings = [word for key, value in keys.items() for word in ("--set", f"{key}={value}")]
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, *words, *settings, *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "200"},
    )


def workers_of(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(word) for word in children.read_text().split()] if children.exists() else []


@pytest.mark.slow
def test_a_killed_worker_ends_the_command_with_one_message_and_the_run_goes_on_to_the_same_end(
    photos: Path, tmp_path: Path
) -> None:
    program = start(photos, tmp_path / "killed", "--set", "data.workers=2")
    last = tmp_path / "killed" / "checkpoint" / "last.safetensors"
    limit = time.monotonic() + 600
    while not last.exists():
        assert time.monotonic() < limit
        assert program.poll() is None, program.communicate()[0]
        time.sleep(0.01)
    for victim in workers_of(program.pid)[:1]:
        os.kill(victim, signal.SIGKILL)
    said, _ = program.communicate(timeout=600)
    assert program.returncode == 2, said
    assert "Traceback" not in said
    text = " ".join(said.split())
    assert f"process {victim}" in text
    assert "go on with --resume and fewer of them, data.workers=1 in place of 2" in text

    again = start(photos, tmp_path / "killed", "--set", "data.workers=0", "--resume")
    assert "macro-F1" in again.communicate(timeout=600)[0]
    whole = start(photos, tmp_path / "whole", "--set", "data.workers=0")
    assert "macro-F1" in whole.communicate(timeout=600)[0]
    weights = [load_file(tmp_path / name / "checkpoint" / "last.safetensors") for name in ("killed", "whole")]
    assert weights[0].keys() == weights[1].keys()
    assert all(weights[0][name].equal(weights[1][name]) for name in weights[0])
