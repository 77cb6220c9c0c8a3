import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file, save_file

import tailgrad
from tailgrad.checks import InputError
from tailgrad.data import load_split, open_source
from tailgrad.engine import Interrupted
from tailgrad.evaluate import Evaluation
from tailgrad.interference import Interference
from tailgrad.recipes import RunFolder, predict, train
from tailgrad.recipes.compose import compose, merge
from tailgrad.recipes.prepare import FEW_IN_FOCUS
from tailgrad.recipes.restore import restore
from tailgrad.recipes.run_config import _monitor


def test_a_run_leaves_every_file_of_the_contract(run: Any) -> None:
    files = {p.relative_to(run.folder).as_posix() for p in run.folder.rglob("*") if p.is_file()}
    interference = {
        f"interference/{when}.{end}" for when in ("early", "train", "heldout") for end in ("npz", "json")
    }
    assert files == interference | {
        "config.yaml",
        "environment.json",
        "split.json",
        "metrics.jsonl",
        "checkpoint/weights.safetensors",
        "checkpoint/last.safetensors",
        "predictions.parquet",
        "result.json",
        "report.html",
    }


def test_metrics_are_one_json_object_an_epoch(run: Any) -> None:
    rows = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [1, 2]
    for row in rows:
        assert {"lr", "train_loss", "val_loss", "val_macro_f1", "val_worst_class", "seconds"} <= set(row)


def test_the_result_follows_from_the_stored_predictions(run: Any) -> None:
    table = pq.read_table(run.folder / "predictions.parquet").to_pylist()
    test = [row for row in table if row["part"] == "test"]
    logits = np.array([row["logits"] for row in test])
    assert [row["predicted"] for row in test] == logits.argmax(1).tolist()
    right = np.mean([row["predicted"] == row["target"] for row in test])
    evaluation = Evaluation.from_dict(run.result["test"])
    assert evaluation.accuracy.value == pytest.approx(right)
    assert evaluation.images == len(test)
    assert run.macro_f1 == evaluation.macro_f1.value


def test_the_weights_give_the_stored_logits(run: Any, photos: Path) -> None:
    rows = [r for r in pq.read_table(run.folder / "predictions.parquet").to_pylist() if r["part"] == "test"]
    found = predict(run.folder, [photos / row["name"] for row in rows])
    expected = torch.softmax(torch.tensor([row["logits"] for row in rows]).double(), 1).numpy()
    np.testing.assert_allclose([p.probabilities for p in found], expected, atol=1e-5)


def test_the_split_can_be_loaded_again(run: Any, photos: Path) -> None:
    source = open_source(photos)
    split = load_split(run.folder / "split.json", source)
    names = [source.items.name(i) for i in split.test]
    stored = pq.read_table(run.folder / "predictions.parquet").to_pylist()
    assert names == [row["name"] for row in stored if row["part"] == "test"]


def test_interference_is_measured_early_and_late(run: Any) -> None:
    for when in ("early", "train", "heldout"):
        found = Interference.load(run.folder / "interference" / when)
        assert found.class_names == ("round", "square", "thin")
        assert found.counts.max() <= 4
        assert found.conflict.shape == found.null.shape == (3, 3)


def test_the_checkpoint_carries_its_classes(run: Any) -> None:
    network = restore(run.folder)
    assert network.names == ("round", "square", "thin")
    assert network.size == (48, 48)
    assert not network.model.training


def test_a_run_folder_is_never_overwritten(run: Any, photos: Path, quick: dict[str, Any]) -> None:
    before = (run.folder / "result.json").read_bytes()
    with pytest.raises(InputError, match=r"run folder must be new, got .*; choose another with --out"):
        train(photos, "quick", overrides=quick, out=run.folder)
    assert train(photos, "quick", overrides=quick, out=run.folder, resume=True).result == run.result
    with pytest.raises(InputError, match=r"optim.lr must stay as the run .* 0.001, got 0.5"):
        train(photos, "quick", overrides=merge(quick, {"optim": {"lr": 0.5}}), out=run.folder, resume=True)
    assert (run.folder / "result.json").read_bytes() == before


def test_same_seed_same_run_other_seed_other_run(
    photos: Path, quick: dict[str, Any], run: Any, tmp_path: Path
) -> None:
    again = train(photos, "quick", overrides=quick, out=tmp_path / "again")
    assert again.result["test"] == run.result["test"]
    weights = [load_file(r.folder / "checkpoint" / "weights.safetensors") for r in (again, run)]
    assert all(torch.equal(weights[0][k], weights[1][k]) for k in weights[0])
    other = train(photos, "quick", overrides=merge(quick, {"seed": 1}), out=tmp_path / "other")
    assert other.result["split_seed"] == 1
    moved = load_file(other.folder / "checkpoint" / "weights.safetensors")
    assert any(not torch.equal(moved[k], weights[0][k]) for k in moved)


def test_an_interrupted_run_resumes_to_the_same_result(
    photos: Path, quick: dict[str, Any], run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tailgrad.recipes.scores as scores

    calls = {"n": 0}
    original = scores.score

    def stop_once(*arguments: Any) -> Any:
        calls["n"] += 1
        if calls["n"] == 2:
            raise KeyboardInterrupt
        return original(*arguments)

    monkeypatch.setattr(scores, "score", stop_once)
    with pytest.raises(Interrupted, match="finished epochs kept: 1 in"):
        train(photos, "quick", overrides=quick, out=tmp_path / "cut")
    assert not (tmp_path / "cut" / "result.json").exists()
    resumed = train(photos, "quick", overrides=quick, out=tmp_path / "cut", resume=True)
    assert resumed.result["test"] == run.result["test"]
    assert [
        r["epoch"] for r in map(json.loads, (tmp_path / "cut/metrics.jsonl").read_text().splitlines())
    ] == [1, 2]


def test_time_used_up_gives_a_usable_model_that_can_go_on(
    photos: Path, quick: dict[str, Any], run: Any, tmp_path: Path
) -> None:
    short = merge(quick, {"train": {"max_minutes": 1e-6}})
    stopped = train(photos, "quick", overrides=short, out=tmp_path / "short")
    assert (stopped.result["status"], stopped.result["stopped_by"], stopped.result["epochs"]) == (
        "stopped",
        "minutes",
        1,
    )
    assert predict(stopped.folder, [photos / "thin" / "00.png"])[0].name in {"round", "square", "thin"}
    longer = train(photos, "quick", overrides=quick, out=tmp_path / "short", resume=True)
    assert longer.result["status"] == "finished"
    assert longer.result["test"] == run.result["test"]


def test_focus_selects_tunes_and_judges_by_one_class(
    photos: Path, quick: dict[str, Any], tmp_path: Path
) -> None:
    focused = train(photos, "quick", overrides=merge(quick, {"focus": "thin"}), out=tmp_path / "focus")
    focus = focused.result["focus"]
    rows = [
        r for r in pq.read_table(focused.folder / "predictions.parquet").to_pylist() if r["part"] == "test"
    ]
    probability = torch.softmax(torch.tensor([r["logits"] for r in rows]).double(), 1)[:, 2].numpy()
    alarm, is_thin = probability >= focus["threshold"], np.array([r["target"] == 2 for r in rows])
    f1 = 2 * (alarm & is_thin).sum() / (alarm.sum() + is_thin.sum())
    assert focus["f1"]["value"] == pytest.approx(f1)
    row = json.loads((focused.folder / "metrics.jsonl").read_text().splitlines()[0])
    assert "val_focus_f1" in row
    assert row["chosen_by"] == "macro_f1"  # fewer than ten validation images
    with pytest.raises(InputError, match=r"focus must be a known name, got 'thn'; did you mean 'thin'"):
        train(photos, "quick", overrides=merge(quick, {"focus": "thn"}), out=tmp_path / "other")


@pytest.mark.parametrize(
    ("images", "monitor", "chosen"),
    [
        (FEW_IN_FOCUS, "macro_f1", "val_focus_f1"),
        (FEW_IN_FOCUS - 1, "macro_f1", "val_macro_f1"),
        (1, "focus_f1", "val_focus_f1"),
        (FEW_IN_FOCUS, "loss", "val_loss"),
    ],
)
def test_a_class_in_focus_chooses_the_epoch_where_enough_images_stand_behind_it(
    images: int, monitor: str, chosen: str
) -> None:
    ready = SimpleNamespace(validation_images=lambda name: {"thin": images}[name])
    config = compose("x", "quick", "ce", {"focus": "thin", "train": {"monitor": monitor}})
    assert f"val_{_monitor(SimpleNamespace(config=config, ready=ready))}" == chosen


def test_python_sources_and_loss_classes(quick: dict[str, Any], tmp_path: Path) -> None:
    from tailgrad.losses import FocalLoss

    random = np.random.default_rng(1)
    images = random.integers(0, 256, (40, 48, 48, 3), dtype=np.uint8)
    labels = np.arange(40) % 2
    run = train((images, labels), method=FocalLoss, regime="quick", overrides=quick, out=tmp_path / "arrays")
    assert run.result["method"] == "focal"
    assert RunFolder(run.folder).config().source == "python"


def test_long_tail_profiles_thin_only_training(photos: Path, quick: dict[str, Any], tmp_path: Path) -> None:
    thinned = merge(quick, {"data": {"profile": "exponential", "imb_factor": 0.25, "val": 0.25}})
    run = train(photos, "quick", overrides=thinned, out=tmp_path / "tail")
    whole = train(photos, "quick", overrides=merge(quick, {"data": {"val": 0.25}}), out=tmp_path / "whole")
    assert sum(run.result["classes"]["counts"]) < sum(whole.result["classes"]["counts"])
    assert run.result["test"]["images"] == whole.result["test"]["images"]


def test_tensorboard_on_request(photos: Path, quick: dict[str, Any], tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    logged = merge(quick, {"train": {"tensorboard": True}, "interference": {"enabled": False}})
    run = train(photos, "quick", overrides=logged, out=tmp_path / "tb")
    assert list((run.folder / "tensorboard").glob("events.out.tfevents*"))


@pytest.mark.parametrize(
    ("above", "words"),
    [
        ({"model": {"name": "resnt32"}}, r"got 'resnt32'; did you mean 'resnet32'"),
        ({"model": {"name": "timm/resnet1800"}}, "resnet1800"),
        ({"head": {"name": "cbsa"}}, "did you mean 'csba'"),
        ({"head": {"name": "csba", "options": {"branch": 3}}}, "did you mean 'branches'"),
        ({"head": {"name": "csba", "options": {"dropout": 2}}}, "dropout"),
        ({"loss": {"name": "focl"}}, "did you mean 'focal'"),
        ({"train": {"augment": ["flop"]}}, "did you mean 'flip'"),
        ({"train": {"monitor": "focus_f1"}}, "needs a class, got focus=None"),
        ({"model": {"pretrained": True}}, "only timm models bring weights"),
        ({"data": {"profile": "none", "imb_factor": 10}}, "data.imb_factor"),
        ({"data": {"profile": "explicit"}}, "counts"),
        ({"data": {"size": [8, 0]}}, "data.size"),
    ],
)
def test_bad_values_leave_nothing_half_trained(
    photos: Path, quick: dict[str, Any], tmp_path: Path, above: dict[str, Any], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        train(photos, "quick", overrides=merge(quick, above), out=tmp_path / "bad")
    assert not (tmp_path / "bad" / "checkpoint").exists()
    assert not (tmp_path / "bad" / "result.json").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_asked_for_and_absent(photos: Path, quick: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"got 'cuda' and no GPU .* set train.device=cpu"):
        train(photos, "quick", overrides=merge(quick, {"train": {"device": "cuda"}}), out=tmp_path / "gpu")


def test_a_checkpoint_of_another_class_set(
    run: Any, photos: Path, quick: dict[str, Any], tmp_path: Path
) -> None:
    weights = run.folder / "checkpoint" / "weights.safetensors"
    with pytest.raises(InputError, match="classes must be those of the data"):
        tailgrad.diagnose("digits-lt", model="tripath", weights=weights, overrides=quick)
    bare = tmp_path / "bare.safetensors"
    save_file(load_file(weights), bare)
    with pytest.raises(InputError, match="weights must fit the network"):
        tailgrad.diagnose("digits-lt", model="tripath", weights=bare, overrides=quick)
    text = tmp_path / "text.safetensors"
    text.write_text("not weights")
    with pytest.raises(InputError, match="readable safetensors file"):
        tailgrad.diagnose("digits-lt", model="tripath", weights=text, overrides=quick)


def test_diagnose_of_a_run_and_of_its_weights_agree(run: Any, photos: Path, quick: dict[str, Any]) -> None:
    of_run = tailgrad.diagnose(run.folder)
    stored = Interference.load(run.folder / "interference" / "heldout")
    np.testing.assert_allclose(of_run.conflict, stored.conflict, atol=1e-4)


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_read_only_folder(photos: Path, quick: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "shut").mkdir(mode=0o500)
    with pytest.raises(InputError, match="cannot write"):
        train(photos, "quick", overrides=quick, out=tmp_path / "shut" / "run")


def test_a_file_in_the_way_of_a_run_folder(photos: Path, quick: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="must be a readable folder"):
        train(photos, "quick", overrides=quick, out=tmp_path / "file")
    with pytest.raises(InputError, match="cannot write"):
        train(photos, "quick", overrides=quick, out=tmp_path / "file" / "below")


def test_a_full_disk_keeps_what_was_written(
    photos: Path, quick: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tailgrad.engine.checkpoint as checkpoint

    calls = {"n": 0}
    original = checkpoint.save_file

    def full(tensors: Any, path: Path, metadata: Any) -> None:
        calls["n"] += 1
        if calls["n"] == 3:
            Path(path).write_bytes(b"half")
            raise OSError(28, "No space left on device")
        original(tensors, path, metadata)

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(InputError, match=r"cannot write .*No space left on device; free some space"):
        train(photos, "quick", overrides=quick, out=tmp_path / "full")
    assert not list((tmp_path / "full").rglob("*.partial"))
    last = checkpoint.load_weights(tmp_path / "full" / "checkpoint" / "last.safetensors")
    assert last[1]["progress"]["epoch"] == 1
    monkeypatch.setattr(checkpoint, "save_file", original)
    assert train(photos, "quick", overrides=quick, out=tmp_path / "full", resume=True).result["epochs"] == 2


def test_parameters_that_no_head_uses_are_not_given_to_the_optimiser(
    photos: Path, quick: dict[str, Any], tmp_path: Path
) -> None:
    timm = {
        "model": {"name": "timm/mobilenetv3_small_050"},
        "head": {"name": "csba"},
        "data": {"size": 80},
        "train": {"epochs": 1},
        "interference": {"enabled": False},
    }
    run = train(photos, "quick", overrides=merge(quick, timm), out=tmp_path / "timm")
    assert run.result["status"] == "finished"
