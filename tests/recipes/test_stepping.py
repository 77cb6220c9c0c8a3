"""Which step and objective a method means, which parts go together, and what is one clear error."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tailgrad.checks import InputError
from tailgrad.engine import load_weights
from tailgrad.models import create_model
from tailgrad.recipes import train
from tailgrad.recipes.compose import compose, named, overlay, validate
from tailgrad.recipes.config import Config
from tailgrad.recipes.configure import configure
from tailgrad.recipes.stepping import (
    add_auxiliary,
    check_together,
    choose_objective,
    choose_step,
    needs_each_loss,
)

SMALL: dict[str, Any] = {
    "data": {"size": 32, "near_duplicates": False},
    "model": {"name": "resnet8"},
    "train": {"epochs": 2, "batch_size": 8, "precision": "float32", "channels_last": False},
    "interference": {"enabled": False},
}


@pytest.mark.parametrize(
    ("method", "step", "objective", "each"),
    [
        ("ce", "supervised_step", "plain_objective", False),
        ("asymmetric_sam", "sharp_step", "plain_objective", True),
        ("joint_ssl", "supervised_step", "joint_objective", False),
        ("simplifying", "sharp_step", "joint_objective", True),
        ("bbn", "supervised_step", "two_branch_objective", False),
        ("pcgrad", "combined_step", "plain_objective", True),
        ("share_balancer", "balanced_step", "plain_objective", False),
    ],
)
def test_methods_choose_their_step_and_objective(method: str, step: str, objective: str, each: bool) -> None:
    config = compose("x", "quick", method)
    assert choose_step(config).__name__ == step
    assert getattr(choose_objective(config), "__name__", "") == objective
    assert needs_each_loss(config) == each


@pytest.mark.parametrize("method", sorted(named("methods")))
def test_named_methods_go_together(method: str) -> None:
    check_together(compose("x", "quick", method))


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"sharpness": {"name": "sam"}, "combine": {"name": "pcgrad"}}, "'sam' and 'pcgrad'; leave one out"),
        ({"sharpness": {"name": "scaled"}, "mixing": {"name": "mixup"}}, "'mixup' and 'scaled'"),
        ({"combine": {"name": "mgda"}, "mixing": {"name": "cut_mix"}}, "'cut_mix' and 'mgda'"),
        ({"architecture": {"name": "bbn"}}, "set partner.name=reversed"),
        (
            {"architecture": {"name": "bbn"}, "partner": {"name": "reversed"}, "mixing": {"name": "mixup"}},
            "'mixup'",
        ),
        ({"mixing": {"name": "cmo"}}, "mixing.name=cmo needs partner.name, got 'none'"),
        ({"loss": {"name": "ride"}}, "set architecture.name=multi_expert"),
        ({"loss": {"name": "sup_con"}}, "got 'sup_con'; set auxiliary.name=sup_con"),
        (
            {"loss": {"name": "ride", "options": {"base": "ldam"}}, "architecture": {"name": "multi_expert"}},
            "set head.name=cosine",
        ),
        ({"stages": [{"name": "s", "loss": {"name": "ldam"}}]}, r"stages\[0\].loss.name=ldam needs"),
        (
            {"loss": {"name": "ldam"}, "head": {"name": "cosine", "options": {"scale": 16.0}}},
            "must be 16.0 as head.options.scale is, got '30.0'",
        ),
        (
            {"loss": {"name": "ldam"}, "head": {"name": "cosine", "options": {"learn_scale": True}}},
            "learn_scale must be false",
        ),
        (
            {
                "loss": {"name": "dot_regression"},
                "head": {"name": "etf"},
                "architecture": {"name": "multi_expert"},
            },
            "needs architecture.name=single",
        ),
        ({"loss": {"name": "soft_f1"}, "sharpness": {"name": "sam"}}, "'soft_f1' and 'sam'"),
        (
            {"mixing": {"name": "mixup"}, "interference": {"monitor_every": 5}},
            "got 'mixup'; set interference",
        ),
        ({"auxiliary": {"name": "nt_xent"}, "interference": {"monitor_every": 5}}, "got 'nt_xent'"),
        (
            {"auxiliary": {"name": "nt_xent"}, "combine": {"name": "share_balancer"}},
            "share_balancer balances",
        ),
        ({"auxiliary": {"name": "nt_xent"}, "sharpness": {"name": "cc_sam"}}, "classifier of cc_sam,"),
        ({"auxiliary": {"name": "bcl", "views": 1}}, "views must be at least 2 for bcl, got '1'"),
        ({"partner": {"name": "reversed"}}, "partner.name is for bbn and cmo, got 'reversed'; leave it out"),
        ({"loss": {"name": "ldam"}, "head": {"name": "linear"}}, "got 'linear'; set head.name=cosine"),
        ({"loss": {"name": "dot_regression"}, "head": {"name": "csba"}}, "got 'csba'; set head.name=etf"),
    ],
)
def test_parts_that_do_not_go_together_are_refused(parts: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words.replace("(", r"\(")):
        check_together(validate({"source": "x", **parts}))


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"sampler": {"name": "class_balance"}}, "did you mean 'class_balanced'"),
        (
            {"sampler": {"name": "power", "options": {"powr": 1}}},
            "sampler.options.powr is not an option of power",
        ),
        ({"partner": {"name": "revered"}}, "partner.name .* did you mean 'reversed'"),
        ({"mixing": {"name": "mixap"}}, "mixing.name .* did you mean 'mixup'"),
        ({"auxiliary": {"name": "focal"}}, "auxiliary.name must be a known name"),
        ({"posthoc": [{"name": "temprature_scaling"}]}, "did you mean 'temperature_scaling'"),
        ({"sharpness": {"name": "sma"}}, "sharpness.name"),
        ({"sharpness": {"name": "sam", "rho": -0.1}}, "sharpness.rho must be .* got -0.1"),
        ({"auxiliary": {"name": "nt_xent", "weight": -1.0}}, "auxiliary.weight must be .* got -1.0"),
        ({"loss": {"name": "ldam"}, "head": {"name": "linear"}}, "needs a head of its own"),
    ],
)
def test_unknown_names_and_values_out_of_range_are_one_clear_error(parts: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        configure("digits-lt", method={"name": "mine", **parts})


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"sharpness": {"name": "imbsam", "options": {"etta": 3}}}, "eta"),
        ({"loss": {"name": "gala", "options": {"lambda1": -1.0}}}, "lambda1"),
        ({"sampler": {"name": "stratified"}, "train": {"batch_size": 2}}, "batch_size"),
        ({"posthoc": [{"name": "logit_adjustment", "options": {"tau": -1.0}}]}, "tau"),
        ({"mixing": {"name": "mixup", "options": {"alpha": -1.0}}}, "alpha"),
    ],
)
def test_options_out_of_range_are_refused_before_training(
    parts: dict[str, Any], words: str, photos: Path, tmp_path: Path
) -> None:
    above = {**SMALL, "train": {**SMALL["train"], **parts.pop("train", {})}}
    with pytest.raises(InputError, match=words):
        train(photos, "quick", method={"name": "mine", **parts}, overrides=above, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("method", ["baseline", "drw"])
def test_sam_of_radius_zero_is_the_run_without_it(method: str, photos: Path, tmp_path: Path) -> None:
    content = {**overlay("methods", method), "name": "mine"}
    sam = {**content, "sharpness": {"name": "sam", "rho": 0.0}}
    runs = [
        train(photos, "quick", method=one, overrides=SMALL, out=tmp_path / str(i))
        for i, one in enumerate((content, sam))
    ]
    one, other = (_final(run.folder) for run in runs)
    for name, value in one.items():
        torch.testing.assert_close(other[name], value, rtol=1e-4, atol=1e-5)


def _final(folder: Path) -> dict[str, torch.Tensor]:
    return load_weights(folder / "checkpoint" / "weights.safetensors")[0]


def test_a_second_loss_of_weight_zero_is_the_supervised_run_bit_for_bit(photos: Path, tmp_path: Path) -> None:
    plain = {"name": "mine", "loss": {"name": "cross_entropy"}}
    joint = {**plain, "auxiliary": {"name": "nt_xent", "weight": 0.0}}
    runs = [
        train(photos, "quick", method=method, overrides=SMALL, out=tmp_path / str(i))
        for i, method in enumerate((plain, joint))
    ]
    one, other = (_final(run.folder) for run in runs)
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert runs[0].result["test"] == runs[1].result["test"]


def test_the_second_loss_changes_the_run_and_learns_a_projector(photos: Path, tmp_path: Path) -> None:
    method = {"name": "mine", "loss": {"name": "cross_entropy"}, "auxiliary": {"name": "nt_xent"}}
    run = train(photos, "quick", method=method, overrides=SMALL, out=tmp_path / "run")
    last = load_weights(run.folder / "checkpoint" / "last.safetensors")[0]
    projector = {name: value for name, value in last.items() if "auxiliary.projector" in name}
    assert projector
    config = Config(source="x", model={"name": "resnet8"}, auxiliary={"name": "nt_xent"})
    start = add_auxiliary(nn.CrossEntropyLoss(), config, create_model("resnet8", 3), [24, 16, 10])
    before = {f"loss.{name}": value for name, value in start.state_dict().items()}
    assert any(not torch.equal(value, before[name]) for name, value in projector.items())
    assert not any("auxiliary" in name for name in _final(run.folder))


@pytest.mark.parametrize("method", ["simplifying", "gala", "bcl", "progressive_sampling", "cmo"])
def test_a_stopped_run_ends_as_one_that_was_never_stopped(
    method: str, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(photos, "quick", method=method, overrides=SMALL, out=tmp_path / "whole")
    from tailgrad.recipes import run_config

    real = run_config.fit

    def only_one_epoch(learner: Any, batches: Any, validate: Any, plan: Any, **more: Any) -> Any:
        seen = []

        def once() -> Any:
            seen.append(1)
            if len(seen) == 2:
                raise KeyboardInterrupt
            return validate()

        return real(learner, batches, once, plan, **more)

    monkeypatch.setattr(run_config, "fit", only_one_epoch)
    with pytest.raises(Exception, match="stopped"):
        train(photos, "quick", method=method, overrides=SMALL, out=tmp_path / "stopped")
    monkeypatch.setattr(run_config, "fit", real)
    again = train(photos, "quick", method=method, overrides=SMALL, out=tmp_path / "stopped", resume=True)
    one, other = (load_weights(r.folder / "checkpoint" / "last.safetensors")[0] for r in (whole, again))
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert torch.equal(value, other[name]), name
