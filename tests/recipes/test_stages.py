"""Later stages: what changes, what stays, what is refused, and how a stopped one goes on."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tailgrad.checks import InputError
from tailgrad.engine import Interrupted, load_weights
from tailgrad.recipes import stage_training, train
from tailgrad.recipes.restore import restore
from tailgrad.recipes.stages import merged

SMALL: dict[str, Any] = {
    "data": {"size": 32, "near_duplicates": False},
    "model": {"name": "resnet8"},
    "train": {"epochs": 1, "batch_size": 8, "precision": "float32", "channels_last": False},
    "interference": {"enabled": False},
}


def _method(*stages: dict[str, Any], head: str = "linear", **more: Any) -> dict[str, Any]:
    named = [{"name": f"s{i}", **stage} for i, stage in enumerate(stages)]
    return {
        "name": "staged",
        "head": {"name": head},
        "loss": {"name": "cross_entropy"},
        "stages": named,
        **more,
    }


def _weights(folder: Path, name: str) -> dict[str, torch.Tensor]:
    return load_weights(folder / "checkpoint" / f"{name}.safetensors")[0]


def _changed(folder: Path) -> set[str]:
    before, after = _weights(folder, "weights"), _weights(folder, "final")
    assert before.keys() == after.keys()
    return {name for name in before if not torch.equal(before[name], after[name])}


BALANCED = {"name": "class_balanced"}


@pytest.mark.parametrize(
    "stage",
    [
        {"head": "reset", "epochs": 2, "sampler": BALANCED},
        {"trains": "scales", "epochs": 2, "sampler": BALANCED, "optim": {"name": "sgd", "lr": 0.1}},
        {
            "trains": "head_and_scales",
            "head_lr_factor": 0.5,
            "epochs": 2,
            "loss": {"name": "label_aware_smoothing"},
        },
        {"max_norm": True, "epochs": 2, "optim": {"name": "sgd", "lr": 0.1, "weight_decay": 0.1}},
        {"features": "smote", "head": "reset", "epochs": 2},
        {"mixing": {"name": "mixup"}, "epochs": 2},
        {"kind": "tau_norm", "tau": 1.0},
        {"kind": "ncm"},
    ],
    ids=["crt", "lws", "mislas", "max_norm", "smote", "mixup", "tau_norm", "ncm"],
)
def test_the_backbone_keeps_its_bytes(stage: dict[str, Any], photos: Path, tmp_path: Path) -> None:
    run = train(photos, "quick", method=_method(stage), overrides=SMALL, out=tmp_path / "run")
    assert _changed(run.folder) == {"head.weight", "head.bias"}
    final = _weights(run.folder, "final")
    assert all(
        torch.equal(final[key], value) for key, value in restore(run.folder).model.state_dict().items()
    )
    assert run.result["stages"][0]["stage"] == "s0"


def test_rows_after_tau_normalisation_have_one_length(photos: Path, tmp_path: Path) -> None:
    stage = {"kind": "tau_norm", "tau": 1.0}
    run = train(photos, "quick", method=_method(stage), overrides=SMALL, out=tmp_path / "run")
    final = _weights(run.folder, "final")
    torch.testing.assert_close(final["head.weight"].norm(dim=1), torch.ones(3))
    assert not final["head.bias"].any()
    assert run.result["stages"][0]["chosen"] == {"tau": 1.0}


def test_scales_multiply_the_logits(photos: Path, tmp_path: Path) -> None:
    stage = {"trains": "scales", "epochs": 1, "optim": {"name": "sgd", "lr": 0.5}}
    run = train(photos, "quick", method=_method(stage), overrides=SMALL, out=tmp_path / "run")
    before, after = _weights(run.folder, "weights"), _weights(run.folder, "final")
    scale = after["head.weight"][:, :1] / before["head.weight"][:, :1]
    torch.testing.assert_close(before["head.weight"] * scale, after["head.weight"])
    torch.testing.assert_close(before["head.bias"] * scale[:, 0], after["head.bias"])
    assert (scale != 1).any()


def test_merging_chooses_a_point_between_both_parents(photos: Path, tmp_path: Path) -> None:
    stage = {"kind": "merge", "trains": "all", "epochs": 1}
    run = train(photos, "quick", method=_method(stage), overrides=SMALL, out=tmp_path / "run")
    share = run.result["stages"][0]["chosen"]["natural share"]
    kept = run.folder / "checkpoint" / "stage1-s0"
    parents = [
        load_weights(kept / name / "weights.safetensors")[0] for name in ("instance", "class_balanced")
    ]
    assert 0 <= share <= 1
    for name, value in _weights(run.folder, "final").items():
        torch.testing.assert_close(value, merged(parents[0], parents[1], share)[name])
    assert all(torch.equal(merged(*parents, 1.0)[name], value) for name, value in parents[0].items())


def test_stages_follow_one_another(photos: Path, tmp_path: Path) -> None:
    stages = ({"head": "reset", "epochs": 1}, {"kind": "tau_norm"})
    run = train(photos, "quick", method=_method(*stages), overrides=SMALL, out=tmp_path / "run")
    assert [stage["stage"] for stage in run.result["stages"]] == ["s0", "s1"]
    assert 0 <= run.result["stages"][1]["chosen"]["tau"] <= 2


def test_a_stopped_stage_goes_on_to_the_same_result(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = _method({"head": "reset", "epochs": 3, "sampler": BALANCED})
    whole = train(photos, "quick", method=method, overrides=SMALL, out=tmp_path / "whole")
    real, calls = stage_training.validator, []

    def stopping(*arguments: Any) -> Any:
        validate = real(*arguments)

        def once() -> Any:
            calls.append(1)
            if len(calls) == 2:
                raise KeyboardInterrupt
            return validate()

        return once

    monkeypatch.setattr(stage_training, "validator", stopping)
    with pytest.raises(Interrupted):
        train(photos, "quick", method=method, overrides=SMALL, out=tmp_path / "stopped")
    monkeypatch.setattr(stage_training, "validator", real)
    again = train(photos, "quick", method=method, overrides=SMALL, out=tmp_path / "stopped", resume=True)
    for name, value in _weights(whole.folder, "final").items():
        assert torch.equal(value, _weights(again.folder, "final")[name]), name
    assert again.result["test"] == whole.result["test"]


@pytest.mark.parametrize(
    ("stage", "head", "words"),
    [
        (
            {"kind": "tau_norm"},
            "branch_sum",
            "needs one linear layer as head, got BranchSum; set head.name=linear",
        ),
        ({"kind": "ncm"}, "csba", "got CSBA"),
        ({"trains": "scales"}, "branch_sum", "needs one linear layer as head"),
        ({"features": "smote", "trains": "all"}, "linear", "trains=all"),
        ({"kind": "ncm"}, "cosine", "needs one linear layer as head, got Cosine"),
        ({"trains": "scales"}, "cosine", "got Cosine"),
        ({"max_norm": True}, "csba", "MaxNorm|weight"),
        ({"mixing": {"name": "cmo"}}, "linear", "cannot draw a second batch"),
        ({"mixing": {"name": "mixup", "options": {"alpha": -1.0}}}, "linear", "alpha"),
        ({"loss": {"name": "ride"}}, "linear", "needs a loss of one class on logits, got RIDELoss"),
        ({"loss": {"name": "sup_con"}}, "linear", "got SupConLoss"),
        (
            {"loss": {"name": "distribution_balanced"}},
            "linear",
            "must take one class an image, got 'distribution_balanced'",
        ),
        ({"loss": {"name": "focal", "options": {"gamma": -3.0}}}, "linear", "gamma"),
    ],
)
def test_stages_that_do_not_suit_the_network_are_refused_before_training(
    stage: dict[str, Any], head: str, words: str, photos: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=words):
        train(photos, "quick", method=_method(stage, head=head), overrides=SMALL, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("stage", "words"),
    [
        ({"sampler": {"name": "balanced"}}, r"stages\[0\]"),
        ({"loss": {"name": "focl"}}, "did you mean 'focal'"),
        ({"epochs": 0}, "stages.0.epochs"),
        ({"optim": {"lr": -0.1}}, "stages.0.optim.lr"),
        ({"tau": -1.0, "kind": "tau_norm"}, "stages.0.tau"),
        ({"trains": "body"}, "stages.0.trains"),
        ({"heads": "reset"}, "did you mean 'head'"),
        ({"kind": "ncm", "epochs": 3}, "epochs means nothing to a stage of this kind"),
        ({"features": "smote", "sampler": BALANCED}, "sampler means nothing"),
        ({"tau": 1.0}, "tau means nothing"),
        ({"name": "../x"}, "stages.0.name"),
    ],
)
def test_bad_stages_are_one_clear_error(
    stage: dict[str, Any], words: str, photos: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=words):
        train(photos, "quick", method=_method(stage), overrides=SMALL, out=tmp_path / "run")


def test_a_stage_that_began_with_other_weights_begins_anew(photos: Path, tmp_path: Path) -> None:
    """A run stopped by its time leaves its stages to the sitting that ends its first training."""
    method = _method({"head": "reset", "epochs": 2, "sampler": BALANCED})
    above = {**SMALL, "train": {**SMALL["train"], "epochs": 3}}
    whole = train(photos, "quick", method=method, overrides=above, out=tmp_path / "whole")
    short = {**above, "train": {**above["train"], "max_minutes": 1e-6}}
    first = train(photos, "quick", method=method, overrides=short, out=tmp_path / "limited")
    assert (first.result["status"], first.result["stages"]) == ("stopped", [])
    again = train(photos, "quick", method=method, overrides=above, out=tmp_path / "limited", resume=True)
    for name, value in _weights(whole.folder, "final").items():
        assert torch.equal(value, _weights(again.folder, "final")[name]), name
    stage = tmp_path / "limited" / "checkpoint" / "stage1-s0"
    (stage / "begins-with").write_text("other weights")
    (stage / "left-over").write_text("")
    (tmp_path / "limited" / "result.json").unlink()
    train(photos, "quick", method=method, overrides=above, out=tmp_path / "limited", resume=True)
    assert not (stage / "left-over").exists()


def test_a_loss_of_ones_own_stays_in_later_stages(photos: Path, tmp_path: Path) -> None:
    class Mine(torch.nn.CrossEntropyLoss):
        calls = 0

        def __init__(self, _counts: list[int]) -> None:
            super().__init__()

        def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
            Mine.calls += 1
            return super().forward(logits, target)

    stages = {"stages": [{"name": "again", "epochs": 1}], "head": {"name": "linear"}}
    run = train(photos, "quick", method=Mine, overrides={**SMALL, **stages}, out=tmp_path / "run")
    assert run.result["stages"][0]["stage"] == "again"
    assert Mine.calls > 8
