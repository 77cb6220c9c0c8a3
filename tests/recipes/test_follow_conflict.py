"""A run whose ascent follows measured conflict, says so, and goes on to the same end after a stop."""

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from tailgrad.checks import InputError
from tailgrad.engine import Interrupted
from tailgrad.interference import Interference, opposition
from tailgrad.optim import ConflictSAM
from tailgrad.recipes import follow_conflict, train
from tailgrad.recipes.compose import compose

OPTIONS = {"after": 1, "every": 1, "floor": 0.2}
KEPT = "combiner.weights"
SMALL: dict[str, Any] = {
    "data": {"size": 16, "near_duplicates": False},
    "model": {"name": "resnet8"},
    "train": {"epochs": 3, "batch_size": 16, "precision": "float32", "channels_last": False},
    "interference": {"enabled": False, "max_per_class": 8, "folds": 4},
}


def _method(**options: Any) -> dict[str, Any]:
    return {"name": "mine", "sharpness": {"name": "conflict_sam", "options": OPTIONS | options}}


def _epochs(number: int) -> dict[str, Any]:
    return {**SMALL, "train": {**SMALL["train"], "epochs": number}}


@pytest.fixture(scope="module")
def followed(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, str]:
    console = Console(file=io.StringIO(), width=400)
    out = tmp_path_factory.mktemp("followed") / "run"
    run = train(photos, "quick", method=_method(), overrides=SMALL, out=out, console=console)
    return run, console.file.getvalue()  # type: ignore[attr-defined]  # the StringIO above


def _last(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "checkpoint" / "last.safetensors")


def _record(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "ascent_weights.json").read_text())


def test_the_weights_are_those_of_the_measurement_and_are_written_down(followed: tuple[Any, str]) -> None:
    run, said = followed
    record, found = _record(run.folder), Interference.load(run.folder / "interference" / "ascent")
    assert (record["by"], record["floor"]) == ("conflict", 0.2)
    assert [one["epoch"] for one in record["measured"]] == [1, 2]
    rule = ConflictSAM([1, 1, 1], floor=0.2)
    rule.follow(opposition(found))
    last = record["measured"][-1]
    assert list(last["weights"]) == list(found.class_names)
    assert list(last["weights"].values()) == rule.weights.tolist() == _last(run.folder)[KEPT].tolist()
    assert list(last["opposition"].values()) == opposition(found).tolist()
    assert found.counts.max() <= 8
    opposed = [one for one in record["measured"] if max(one["opposition"].values()) > 0]
    assert opposed, "the images are to show some conflict"
    for one in opposed:
        ranked = sorted(one["weights"].items(), key=lambda pair: -pair[1])
        words = ", ".join(f"{name} {a:.2f}" for name, a in ranked)
        assert f"the ascent follows classes by conflict after epoch {one['epoch']}: {words}\n" in said


@pytest.mark.parametrize("stopped", [1, 2], ids=["before", "between"])
def test_a_stopped_run_goes_on_to_the_same_end(
    followed: tuple[Any, str], stopped: int, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tailgrad.recipes.scores as scores

    real, calls = scores.score, []

    def stop_once(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == stopped:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(scores, "score", stop_once)
    with pytest.raises(Interrupted):
        train(photos, "quick", method=_method(), overrides=SMALL, out=tmp_path / "run")
    train(photos, "quick", method=_method(), overrides=SMALL, out=tmp_path / "run", resume=True)
    whole, again = _last(followed[0].folder), _last(tmp_path / "run")
    assert whole.keys() == again.keys()
    assert all(torch.equal(whole[name], again[name]) for name in whole)
    assert _record(tmp_path / "run") == _record(followed[0].folder)


def test_a_run_killed_after_the_measurement_measures_again_and_keeps_one_record(
    followed: tuple[Any, str], photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = follow_conflict.write_json, []

    def stop_once(*arguments: Any) -> Any:
        real(*arguments)
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return arguments[0]

    monkeypatch.setattr(follow_conflict, "write_json", stop_once)
    with pytest.raises(Interrupted):
        train(photos, "quick", method=_method(), overrides=SMALL, out=tmp_path / "run")
    train(photos, "quick", method=_method(), overrides=SMALL, out=tmp_path / "run", resume=True)
    assert _record(tmp_path / "run") == _record(followed[0].folder)
    assert torch.equal(_last(tmp_path / "run")[KEPT], _last(followed[0].folder)[KEPT])


def test_the_weights_change_what_is_learned(followed: tuple[Any, str], photos: Path, tmp_path: Path) -> None:
    """Until the first measurement the run is SAM's, bit for bit; afterwards it is not."""
    sam = {"name": "mine", "sharpness": {"name": "sam"}}
    ours, theirs = (
        train(photos, "quick", method=method, overrides=_epochs(1), out=tmp_path / name).folder
        for name, method in (("ours", _method()), ("theirs", sam))
    )
    one, other = _last(ours), _last(theirs)
    assert all(torch.equal(one[name], other[name]) for name in other)
    whole = _last(train(photos, "quick", method=sam, overrides=SMALL, out=tmp_path / "whole").folder)
    assert any(not torch.equal(whole[name], _last(followed[0].folder)[name]) for name in whole)


def test_the_control_deals_the_same_weights_out_once_and_for_all(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders = []
    for seed in (0, 1, 2):
        opposed = iter([[0.1, 0.2, 0.6], [0.5, 0.3, 0.1]])
        monkeypatch.setattr(follow_conflict, "opposition", lambda _, said=opposed: np.array(next(said)))
        above = _epochs(2 if seed else 3) | {"seed": seed, "split_seed": 0}
        train(photos, "quick", method=_method(by="random"), overrides=above, out=tmp_path / f"{seed}")
        measured = _record(tmp_path / f"{seed}")["measured"]
        assert len(measured) == (1 if seed else 2)
        for one in measured:
            own = ConflictSAM([1, 1, 1], floor=0.2)
            own.follow(list(one["opposition"].values()))
            dealt, kept = list(one["weights"].values()), own.weights.tolist()
            assert sorted(dealt) == pytest.approx(sorted(kept))
            orders.append(tuple(min(range(3), key=lambda c, a=a: abs(kept[c] - a)) for a in dealt))
    assert orders[0] == orders[1], "of one seed"
    assert len(set(orders)) > 1, "of several"


def test_a_measurement_too_late_is_said(photos: Path, tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), width=400)
    train(
        photos, "quick", method=_method(after=4), overrides=_epochs(1), out=tmp_path / "run", console=console
    )
    said = console.file.getvalue()  # type: ignore[attr-defined]  # the StringIO above
    assert "warning: conflict is measured after epoch 4 of 1, when nothing is left to train" in said
    assert not (tmp_path / "run" / "ascent_weights.json").exists()
    assert _last(tmp_path / "run")[KEPT].tolist() == [1.0, 1.0, 1.0]


def test_the_two_methods_differ_in_who_gets_the_weights_alone() -> None:
    ours, control = (compose("x", "digits", name) for name in ("conflict_sam", "random_class_sam"))
    assert ours.sharpness.options == {}
    assert control.sharpness.options == {"by": "random"}
    assert control.model_copy(update={"sharpness": ours.sharpness, "method": ours.method}) == ours
    sam = compose("x", "digits", "sam")
    assert sam.model_copy(update={"sharpness": ours.sharpness, "method": ours.method}) == ours


def test_a_damaged_record_is_named(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = follow_conflict.write_json, []

    def damage(path: Path, content: Any) -> Any:
        calls.append(1)
        return real(path, {"measured": 3} if len(calls) == 1 else content)

    monkeypatch.setattr(follow_conflict, "write_json", damage)
    with pytest.raises(InputError, match=r"ascent_weights.json must hold what tailgrad writes"):
        train(photos, "quick", method=_method(every=1), overrides=_epochs(3), out=tmp_path / "run")


@pytest.mark.slow
def test_two_processes_follow_the_same_weights(photos: Path, tmp_path: Path) -> None:
    method = tmp_path / "mine.yaml"
    method.write_text(json.dumps({"description": "SAM by conflict", "sharpness": _method()["sharpness"]}))
    keys = ["model.name=resnet8", "data.size=32", "data.near_duplicates=false", "train.epochs=2"]
    keys += ["train.batch_size=8", "train.precision=float32", "train.channels_last=false", "train.devices=2"]
    keys += ["interference.enabled=false", "interference.max_per_class=4", "interference.folds=2"]
    command = [sys.executable, "-m", "tailgrad", "train", str(photos), "--regime", "quick"]
    command += ["--method", str(method), "--out", str(tmp_path / "run")]
    command += [word for key in keys for word in ("--set", key)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("the ascent follows classes by conflict after epoch 1") == 1
    weights = _record(tmp_path / "run")["measured"][-1]["weights"]
    assert _last(tmp_path / "run")[KEPT].tolist() == list(weights.values())
