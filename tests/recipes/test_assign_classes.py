"""A run that assigns classes to branches once, says so, and goes on to the same end after a stop."""

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
from tailgrad.engine import Compiled, Interrupted
from tailgrad.heads import ConflictBranches
from tailgrad.interference import Interference, agreement, group_classes
from tailgrad.recipes import assign_classes, predict, train
from tailgrad.recipes.config import Config
from tailgrad.recipes.prior import method_ledger
from tailgrad.recipes.stepping import check_together
from tailgrad.types import ClassInfo

OPTIONS = {"groups": 2, "assign_after": 1}
SMALL: dict[str, Any] = {
    "data": {"size": 32, "near_duplicates": False},
    "model": {"name": "resnet8"},
    "train": {"epochs": 3, "batch_size": 8, "precision": "float32", "channels_last": False},
    "interference": {"enabled": False, "max_per_class": 8, "folds": 4},
}


def _method(**options: Any) -> dict[str, Any]:
    return {"name": "mine", "head": {"name": "conflict_branches", "options": OPTIONS | options}}


@pytest.fixture(scope="module")
def assigned(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, str]:
    console = Console(file=io.StringIO(), width=400)
    out = tmp_path_factory.mktemp("assigned") / "run"
    run = train(photos, "quick", method=_method(), overrides=SMALL, out=out, console=console)
    return run, console.file.getvalue()  # type: ignore[attr-defined]  # the StringIO above


def _last(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "checkpoint" / "last.safetensors")


def test_the_groups_are_those_of_the_measurement_and_are_written_down(assigned: tuple[Any, str]) -> None:
    run, said = assigned
    record = json.loads((run.folder / "class_groups.json").read_text())
    found = Interference.load(run.folder / "interference" / "assignment")
    pull = agreement(found)
    groups = group_classes(pull, 2)
    assert _last(run.folder)["model.head.group"].tolist() == groups
    assert sorted(set(groups)) == [0, 1]
    names = [[found.class_names[k] for k in range(3) if groups[k] == b] for b in range(2)]
    assert (record["groups"], record["epoch"], record["by"]) == (names, 1, "conflict")
    within = [pull[i, j] for i in range(3) for j in range(i) if groups[i] == groups[j]]
    between = [pull[i, j] for i in range(3) for j in range(i) if groups[i] != groups[j]]
    assert record["agreement_within"] == pytest.approx(np.mean(within))
    assert record["agreement_between"] == pytest.approx(np.mean(between))
    assert record["undecided"] == []
    assert found.counts.max() <= 8
    assert f"assigned by conflict after epoch 1: {', '.join(names[0])} | {', '.join(names[1])};" in said


def test_the_gates_part_afterwards(assigned: tuple[Any, str]) -> None:
    last = _last(assigned[0].folder)
    one, two = (last[f"model.head.branches.{b}.squeeze.weight"] for b in range(2))
    assert not torch.equal(one, two)


def test_the_run_is_restored_and_predicts(assigned: tuple[Any, str], photos: Path) -> None:
    assert predict(assigned[0].folder, [photos / "thin" / "00.png"])[0].name in {"round", "square", "thin"}


@pytest.mark.parametrize("stopped", [1, 2], ids=["before", "after"])
def test_a_stopped_run_goes_on_to_the_same_end_and_measures_once(
    assigned: tuple[Any, str], stopped: int, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped in validation of the assigning epoch, or of the one after it."""
    import tailgrad.recipes.scores as scores

    real_score, real_measure, calls, measured = scores.score, assign_classes.measure_part, [], []

    def stop_once(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == stopped:
            raise KeyboardInterrupt
        return real_score(*arguments)

    def counting(*arguments: Any) -> Any:
        measured.append(1)
        return real_measure(*arguments)

    monkeypatch.setattr(scores, "score", stop_once)
    monkeypatch.setattr(assign_classes, "measure_part", counting)
    with pytest.raises(Interrupted):
        train(photos, "quick", method=_method(), overrides=SMALL, out=tmp_path / "run")
    resumed = train(photos, "quick", method=_method(), overrides=SMALL, out=tmp_path / "run", resume=True)
    assert len(measured) == 1
    whole, again = _last(assigned[0].folder), _last(tmp_path / "run")
    assert whole.keys() == again.keys()
    assert all(torch.equal(whole[name], again[name]) for name in whole)
    assert resumed.result["test"] == assigned[0].result["test"]
    records = [(run / "class_groups.json").read_text() for run in (assigned[0].folder, tmp_path / "run")]
    assert records[0] == records[1]


@pytest.mark.parametrize("sharpness", ["none", "sam"])
def test_copied_gates_take_the_moments_of_the_optimiser_along(
    sharpness: str, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, Any] = {}
    real = assign_classes._carry_state

    def noting(optimizer: Any, copies: Any) -> None:
        real(optimizer, copies)
        state = getattr(optimizer, "optimizer", optimizer).state
        seen["pairs"] = [(state[weight], state[copy]) for weight, copy in copies]

    monkeypatch.setattr(assign_classes, "_carry_state", noting)
    one = {**SMALL, "train": {**SMALL["train"], "epochs": 1}}
    method = _method() | {"sharpness": {"name": sharpness}}
    train(photos, "quick", method=method, overrides=one, out=tmp_path / "run")
    assert len(seen["pairs"]) == 2
    for ours, theirs in seen["pairs"]:
        assert ours.keys() == theirs.keys() >= {"exp_avg", "exp_avg_sq", "step"}
        assert ours["exp_avg"].abs().sum() > 0
        for name in ours:
            assert torch.equal(ours[name], theirs[name])
            assert ours[name].data_ptr() != theirs[name].data_ptr()


def test_random_groups_have_the_sizes_that_were_measured_and_follow_the_seed(
    assigned: tuple[Any, str], photos: Path, tmp_path: Path
) -> None:
    found = []
    for seed in (0, 0, 1, 2):
        above = {**SMALL, "train": {**SMALL["train"], "epochs": 1}, "seed": seed, "split_seed": 0}
        out = tmp_path / f"{len(found)}"
        train(photos, "quick", method=_method(by="random"), overrides=above, out=out)
        found.append(json.loads((out / "class_groups.json").read_text()))
    assert all(one["by"] == "random" for one in found)
    assert all(sorted(map(len, one["groups"])) == [1, 2] for one in found)
    assert found[0] == found[1]
    assert len({json.dumps(one["groups"]) for one in found}) > 1


def test_an_assignment_too_late_is_said(photos: Path, tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), width=400)
    late = {**SMALL, "train": {**SMALL["train"], "epochs": 1}}
    train(
        photos, "quick", method=_method(assign_after=4), overrides=late, out=tmp_path / "run", console=console
    )
    said = console.file.getvalue()  # type: ignore[attr-defined]  # the StringIO above
    assert "warning: classes are assigned after epoch 4 of 1, when nothing is left to train" in said
    assert not (tmp_path / "run" / "class_groups.json").exists()
    assert not _last(tmp_path / "run")["model.head.group"].any()


def test_networks_with_several_heads_are_refused() -> None:
    config = Config(source="x", head={"name": "conflict_branches"}, architecture={"name": "multi_expert"})
    with pytest.raises(InputError, match="head.name=conflict_branches needs architecture.name=single"):
        check_together(config)


@pytest.mark.parametrize("head", [{"gates": "frozen"}, {"detach_gates": True}], ids=["frozen", "detached"])
@pytest.mark.parametrize("sharpness", ["none", "direction"])
def test_gates_that_do_not_learn_are_stored_measured_and_left_alone(
    head: dict[str, Any], sharpness: str, photos: Path, tmp_path: Path
) -> None:
    above = {
        **SMALL,
        "train": {**SMALL["train"], "epochs": 1},
        "interference": {"max_per_class": 4, "folds": 2},
        "optim": {"name": "adamw", "lr": 0.01, "weight_decay": 0.5},
    }
    method = {"name": "mine", "head": {"name": "csba", "options": head}, "sharpness": {"name": sharpness}}
    run = train(photos, "quick", method=method, overrides=above, out=tmp_path / "run")
    weights = load_file(run.folder / "checkpoint" / "weights.safetensors")
    from tailgrad.recipes.assemble import make_model
    from tailgrad.recipes.run_folder import RunFolder

    start = make_model(RunFolder(run.folder).config(), 3).state_dict()
    gates = [name for name in start if "squeeze" in name or "excite" in name]
    assert len(gates) == 6
    assert all(torch.equal(weights[name], start[name]) for name in gates)
    assert not torch.equal(
        weights["head.branches.0.classify.weight"], start["head.branches.0.classify.weight"]
    )
    found = Interference.load(run.folder / "interference" / "heldout")
    assert found.branches is not None
    assert {"backbone", "head", "all"} <= set(found.groups)
    assert np.isfinite(found.conflict).all()


def test_frozen_gates_stay_frozen_in_a_stage_that_trains_the_head(photos: Path, tmp_path: Path) -> None:
    method = {
        "name": "mine",
        "head": {"name": "csba", "options": {"gates": "frozen"}},
        "stages": [{"name": "again", "epochs": 1, "trains": "head"}],
    }
    above = {**SMALL, "train": {**SMALL["train"], "epochs": 1}}
    run = train(photos, "quick", method=method, overrides=above, out=tmp_path / "run")
    before, after = (load_file(run.folder / "checkpoint" / f"{n}.safetensors") for n in ("weights", "final"))
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {f"head.branches.{b}.classify.{kind}" for b in range(3) for kind in ("weight", "bias")}


def test_balanced_shares_correct_the_prior_once() -> None:
    from tailgrad.recipes.assemble import make_loss
    from tailgrad.recipes.compose import compose

    config, classes = compose("x", "digits", "balanced_shares"), ClassInfo(("a", "b"), (30, 3))
    target = [0] * 30 + [1] * 3
    found = method_ledger(config, classes, target, {-1: make_loss(config, classes)}, [])
    assert not found.over_corrected
    assert list(found.entries) == ["loss balanced_softmax"]


def test_compiled_code_follows_the_assignment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Graphs as ``torch.compile`` makes them, without the minutes of a C++ compiler."""
    real, traced = torch.compile, []

    def trace(call: Any, dynamic: bool, **_: Any) -> Any:
        traced.append(1)
        return real(call, backend="eager", dynamic=dynamic)

    monkeypatch.setattr(torch, "compile", trace)
    torch.manual_seed(0)
    head = ConflictBranches(32, 4, groups=2, dropout=0.0)
    compiled, features = Compiled([head], "default", size=4), torch.rand(4, 32, 3, 3)

    def logits_and_gradients() -> tuple[torch.Tensor, list[torch.Tensor]]:
        head.zero_grad()
        with compiled.running(features):
            logits = head(features)
        torch.nn.functional.cross_entropy(logits, torch.arange(4)).backward()
        return logits.detach(), [gate.excite.weight.grad.clone() for gate in head.branches]

    before, one = logits_and_gradients()
    head.assign([0, 1, 0, 1])
    after, two = logits_and_gradients()
    assert traced
    assert torch.equal(before, after)
    assert [bool(part.any()) for part in (*one, *two)] == [True, False, True, True]
    torch.testing.assert_close(two[0] + two[1], one[0])


@pytest.mark.slow
def test_two_processes_take_the_same_groups(photos: Path, tmp_path: Path) -> None:
    method = tmp_path / "mine.yaml"
    method.write_text(json.dumps({"description": "conflict branches, early", "head": _method()["head"]}))
    keys = ["model.name=resnet8", "data.size=32", "data.near_duplicates=false", "train.epochs=2"]
    keys += ["train.batch_size=8", "train.precision=float32", "train.channels_last=false", "train.devices=2"]
    keys += ["interference.enabled=false", "interference.max_per_class=4", "interference.folds=2"]
    command = [sys.executable, "-m", "tailgrad", "train", str(photos), "--regime", "quick"]
    command += ["--method", str(method), "--out", str(tmp_path / "run")]
    command += [word for key in keys for word in ("--set", key)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("classes assigned by conflict after epoch 1") == 1
    record = json.loads((tmp_path / "run" / "class_groups.json").read_text())
    names = ("round", "square", "thin")
    place = {name: b for b, group in enumerate(record["groups"]) for name in group}
    assert _last(tmp_path / "run")["model.head.group"].tolist() == [place[name] for name in names]


def test_a_head_without_a_run_is_assigned_by_hand() -> None:
    head = ConflictBranches(8, 4, groups=2)
    head.assign(
        group_classes(np.array([[0, 1, -1, -1], [1, 0, -1, -1], [-1, -1, 0, 1], [-1, -1, 1, 0.0]]), 2)
    )
    assert head.group.tolist() == [0, 0, 1, 1]
