"""Whole runs shared by two real processes: what they write, how they end, what is refused."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

from tailgrad.checks import InputError
from tailgrad.recipes import compare, launch, train
from tailgrad.recipes.config import Config, TrainConfig
from tailgrad.recipes.crew import crew
from tailgrad.recipes.launch import launched
from tailgrad.recipes.run_folder import RunFolder

pytestmark = pytest.mark.long

SETTINGS = {
    "train.epochs": 2,
    "train.precision": "float32",
    "train.channels_last": False,
    "train.augment": [],
    "train.save_minutes": 0,
    "model.name": "resnet8",
    "optim.name": "sgd",
    "interference.enabled": False,
    "data.near_duplicates": False,
}


def _command(out: Path, *more: str, method: str = "class_thresholds") -> list[str]:
    assignments = [f"{key}={json.dumps(value)}" for key, value in SETTINGS.items()]
    settings = [word for each in (*assignments, "train.devices=2") for word in ("--set", each)]
    command = ["-m", "tailgrad", "train", "digits-lt", "--method", method, "--out", str(out)]
    return [sys.executable, *command, *settings, *more]


def _environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, env=_environment(), capture_output=True, text=True, timeout=280)


def _nested() -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for key, value in SETTINGS.items():
        section, name = key.split(".")
        nested.setdefault(section, {})[name] = value
    return nested


def _predictions(folder: Path) -> tuple[list[int], torch.Tensor]:
    table = pq.read_table(folder / "predictions.parquet")
    return table["index"].to_pylist(), torch.tensor(table["logits"].to_pylist())


def _losses(folder: Path) -> list[float]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["train_loss"] for line in lines]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that the command line shares between two processes."""
    out = tmp_path_factory.mktemp("shared") / "run"
    done = _run(_command(out))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("macro-F1") == done.stderr.count("at most 2 epochs") == 1  # one of them speaks
    return out


def test_two_processes_write_what_one_writes(shared: Path, tmp_path: Path) -> None:
    alone = train("digits-lt", method="class_thresholds", overrides=_nested(), out=tmp_path / "run").folder
    assert sorted(p.name for p in shared.iterdir()) == sorted(p.name for p in alone.iterdir())
    (index, logits), (index_alone, logits_alone) = _predictions(shared), _predictions(alone)
    assert index == index_alone
    torch.testing.assert_close(logits, logits_alone, rtol=1e-3, atol=1e-3)
    one, two = RunFolder(alone).result(), RunFolder(shared).result()
    assert two["best_epoch"] == one["best_epoch"]
    assert two["val"]["macro_f1"]["value"] == pytest.approx(one["val"]["macro_f1"]["value"], rel=1e-6)
    assert _losses(shared) == pytest.approx(_losses(alone), rel=1e-5)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds the second process by /proc")
def test_a_killed_process_ends_the_run_and_it_goes_on_to_the_same_end(shared: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    first = subprocess.Popen(_command(out), env=_environment(), stderr=subprocess.PIPE, text=True)
    while not (out / "checkpoint" / "last.safetensors").exists():
        assert first.poll() is None
        time.sleep(0.05)
    (second,) = map(int, Path(f"/proc/{first.pid}/task/{first.pid}/children").read_text().split())
    os.kill(second, signal.SIGKILL)
    _, said = first.communicate(timeout=60)
    assert first.returncode == 2, said
    assert "another process of this run has ended" in said
    assert "Traceback" not in said
    done = _run(_command(out, "--resume"))
    assert done.returncode == 0, done.stderr
    (index, logits), (index_whole, logits_whole) = _predictions(out), _predictions(shared)
    assert index == index_whole
    assert torch.equal(logits, logits_whole)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "near"),
    # Which neighbour SMOTE takes turns on the last digit of a distance: single made-up features then differ.
    [("crt", 1e-2), ("feature_smote", 1e-1)],
)
def test_stages_and_measurements_under_torchrun(method: str, near: float, tmp_path: Path) -> None:
    words = ["interference.enabled=true", "interference.max_per_class=4", "train.devices=auto"]
    command = _command(tmp_path / "two", *(w for word in words for w in ("--set", word)), method=method)
    started = _run(
        [command[0], "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", *command[1:]]
    )
    assert started.returncode == 0, started.stderr
    above = _nested() | {"interference": {"max_per_class": 4}}
    alone = train("digits-lt", method=method, overrides=above, out=tmp_path / "one")
    logits, logits_alone = _predictions(tmp_path / "two")[1], _predictions(alone.folder)[1]
    torch.testing.assert_close(logits, logits_alone, rtol=near, atol=near)
    assert (logits - logits_alone).abs().mean() < 1e-2
    assert (tmp_path / "two" / "report.html").exists()
    kept = [sorted(p.name for p in (f / "interference").iterdir()) for f in (tmp_path / "two", alone.folder)]
    assert kept[0] == kept[1]


def test_what_started_the_processes_is_read_from_the_environment() -> None:
    assert crew({"SLURM_PROCID": "0", "SLURM_NTASKS": "4"}).processes == 1  # within sbatch, not by srun
    assert crew({"WORLD_SIZE": "2"}).processes == 1  # a number that nobody else started by
    assert crew({"WORLD_SIZE": "6", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "2"}).machines == 3


def test_python_alone_cannot_start_a_second_process(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="torchrun --nproc-per-node 2"):
        train("digits-lt", overrides={"train": {"devices": 2}}, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_processes_of_one_machine_share_its_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", taken.append)
    monkeypatch.setattr(launch, "cores", lambda: 9)
    monkeypatch.setattr(launch, "_start_others", lambda _: taken.append(int(os.environ["OMP_NUM_THREADS"])))
    monkeypatch.setattr(sys, "argv", ["tailgrad", "train"])
    for said, threads, found in ((None, "auto", [4, 4]), ("3", "auto", [3]), ("3", 2, [3])):
        monkeypatch.setattr(os, "environ", {"OMP_NUM_THREADS": said} if said else {})
        launch._processes(Config(source="x", train=TrainConfig(devices=2, threads=threads)))
        assert taken == found
        taken.clear()


def test_a_number_that_was_not_started_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"WORLD_SIZE": "3", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "3"}.items():
        monkeypatch.setenv(name, value)
    with (
        pytest.raises(InputError, match="got 2 and 3 started by torchrun"),
        launched(Config(source="x", train={"devices": 2})),  # type: ignore[arg-type]  # as YAML gives it
    ):
        pass
    with pytest.raises(InputError, match="compare must run as one process, got 3"):
        compare("digits-lt", ["ce"])


def test_a_second_loss_with_gradients_by_class_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"WORLD_SIZE": "2", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    parts: dict[str, Any] = {"auxiliary": {"name": "neural_collapse"}, "combine": {"name": "pcgrad"}}
    with pytest.raises(InputError, match="neural_collapse"), launched(Config(source="x", **parts)):
        pass
