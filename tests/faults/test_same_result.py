"""Same seed, same machine, same result, bit for bit, whatever else differs."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

pytestmark = pytest.mark.long


def differing(whole: dict[str, Any], found: dict[str, Any], *but: str) -> list[str]:
    return [
        name for name in whole.keys() | found.keys() if found.get(name) != whole.get(name) and name not in but
    ]


def test_a_process_with_other_hashes_in_another_folder(
    training: list[str], whole_training: Any, contents: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "ä b"
    folder.mkdir()
    one_thread = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONHASHSEED": "12345"}
    ended = subprocess.run(
        [sys.executable, "-m", "tailgrad", *training],
        cwd=folder,
        env={**os.environ, **one_thread},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert differing(whole_training[1], contents(folder / "made")) == []


def test_a_wall_clock_that_goes_backwards_in_another_time_zone(
    attempt: Any, training: list[str], whole_training: Any, contents: Any, tmp_path: Path
) -> None:
    killed = attempt(tmp_path, *training, event=["after .last.safetensors.partial", 5])
    assert killed.killed
    ended = attempt(tmp_path, *training, "--max-minutes", 600, "--resume", falling_clock=True)
    assert ended.status == 0, ended.err
    found = contents(tmp_path / "made")
    found["config.yaml"]["train"]["max_minutes"] = None  # a sitting's own
    found["config.yaml"]["interference"]["minutes"] = None
    assert differing(whole_training[1], found) == []
    assert found["result.json"]["status"] == "finished"


@pytest.mark.slow
def test_images_decoded_while_training(
    attempt: Any, training: list[str], whole_training: Any, contents: Any, tmp_path: Path
) -> None:
    stream = ["--set", "data.resident=stream", "--set", "data.workers=2"]
    ended = attempt(tmp_path, *training, *stream)
    assert ended.status == 0, ended.err
    assert differing(whole_training[1], contents(tmp_path / "made"), "config.yaml") == []


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU that PyTorch can use")
def test_a_gpu_keeps_to_the_documented_tolerance(tmp_path: Path) -> None:
    from tailgrad.recipes import train

    above = {
        "data": {"size": 16, "near_duplicates": False},
        "model": {"name": "resnet8"},
        "train": {"epochs": 3, "precision": "float32", "channels_last": False},
        "interference": {"enabled": False},
    }
    runs = [train("digits-lt", overrides=above, out=tmp_path / str(i)) for i in range(2)]
    losses = [run.result["test"]["nll"]["value"] for run in runs]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
