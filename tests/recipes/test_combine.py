"""Methods that combine class gradients, as recipes."""

import contextlib
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from rich.console import Console
from safetensors.torch import load_file
from torch import nn

import tailgrad.optim
from tailgrad.checks import InputError
from tailgrad.engine import combined_step, load_weights, supervised_step
from tailgrad.losses import CrossEntropyLoss
from tailgrad.models import Classifier, create_model
from tailgrad.models.cifar_resnet import CifarResNet
from tailgrad.optim import Combiner, GapWeights, ShareBalancer
from tailgrad.recipes import RunFolder, compare, train
from tailgrad.recipes.assemble import make_loss, make_optimizer
from tailgrad.recipes.catalogue import catalogue
from tailgrad.recipes.combinations import check_combine, combination_options, combinations, is_combiner
from tailgrad.recipes.combine import (
    add_to_loss,
    backward_passes,
    check_model,
    combine_in,
    step_of,
    wants_each_loss,
)
from tailgrad.recipes.compose import compose, merge, named, overlay
from tailgrad.recipes.config import CombineConfig, OptimConfig
from tailgrad.recipes.even_classes import even_correction
from tailgrad.recipes.scores import score
from tailgrad.types import ClassInfo

METHODS = [name for name in named("methods") if compose("x", "quick", name).combine.name == name]
CLASSES = ClassInfo(("a", "b", "c"), (24, 16, 10))


def _arrays() -> tuple[Any, Any]:
    random = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], CLASSES.counts)
    images = random.integers(0, 90, (50, 48, 48, 3), dtype=np.uint8)
    images[np.arange(50), :, :, labels] += 120
    return images, labels


@pytest.fixture(scope="module")
def tiny(fast: dict[str, Any]) -> dict[str, Any]:
    """One epoch of two steps."""
    return merge(fast, {"train": {"epochs": 1}})


# Names


def test_every_combination_is_exported_and_has_a_method() -> None:
    exported = [getattr(tailgrad.optim, name) for name in tailgrad.optim.__all__]
    combiners = {item for item in exported if isinstance(item, type) and issubclass(item, Combiner)}
    assert set(combinations().values()) == combiners - {Combiner} | {ShareBalancer, GapWeights}
    assert {compose("x", "quick", name).combine.name for name in METHODS} == set(combinations())
    assert [e.name for e in catalogue() if e.kind == "combination"] == list(combinations())


@pytest.mark.parametrize("method", METHODS)
def test_methods_are_called_as_what_they_combine_with(method: str) -> None:
    config = compose("x", "quick", method)
    assert config.combine.name == method
    check_combine(config.combine)
    assert make_loss(config, CLASSES).training


def test_only_what_a_recipe_may_say_is_an_option() -> None:
    assert combination_options("grad_norm") == {"alpha": 1.5, "rate": 0.025, "scale": "mean"}
    assert combination_options("share_balancer") == {"shares": None, "decay": 0.999}
    assert combination_options("gap_weights") == {"baseline": None, "scale": "mean"}
    assert combination_options("mgda") == {}


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"name": "pcgard"}, r"combine.name must be a known name, got 'pcgard'; did you mean 'pcgrad'\?"),
        (
            {"name": "cagrad", "options": {"cc": 1}},
            "combine.options.cc is not an option of cagrad; did you mean 'c'",
        ),
        ({"name": "mgda", "options": {"c": 1}}, "combine.options.c is not an option of mgda; it takes none"),
        ({"options": {"c": 1}}, "combine.options.c is not an option of none; it takes none"),
        ({"name": "grad_norm", "options": {"num_classes": 3}}, "num_classes is not an option of grad_norm"),
        ({"name": "share_balancer", "prior": "batch"}, "combine.prior is for .*got 'batch'.*leave it out"),
        ({"name": "gap_weights", "parameters": "all"}, "combine.parameters is for .*got 'all'"),
        ({"prior": "batch"}, "got 'batch' with combine.name=none"),
    ],
)
def test_keys_that_are_unknown_or_do_not_apply(section: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        check_combine(CombineConfig.model_validate(section))


@pytest.mark.parametrize(
    ("method", "options", "words"),
    [
        ("cagrad", {"c": -1}, r"c must be in \[0"),
        ("cagrad", {"scale": "man"}, "did you mean 'mean'"),
        ("grad_norm", {"rate": 0}, "rate must be in"),
        ("share_balancer", {"shares": [1, 2]}, "got 2 for 3 classes"),
        ("share_balancer", {"shares": 3}, "combine.options must fit share_balancer, got {'shares': 3}"),
        ("gap_weights", {"baseline": [1.0]}, r"baseline must hold 3 losses, one a class, got \[1.0\]"),
        ("gap_weights", {"baseline": 2}, "baseline must hold 3 losses, one a class, got 2"),
        ("gap_weights", {"baseline": [1.0, 0.0, 1.0]}, r"baseline\[1\] must be in"),
    ],
)
def test_options_out_of_range(method: str, options: dict[str, Any], words: str) -> None:
    combine = CombineConfig(name=method, options=options)
    model = create_model("resnet32", 3)
    made = {
        True: lambda: combine_in(torch.optim.SGD(model.parameters()), combine, model, 3),
        False: lambda: add_to_loss(nn.CrossEntropyLoss(), combine, 3),
    }[is_combiner(combine)]
    with pytest.raises(InputError, match=words):
        made()


def test_bad_options_leave_nothing_half_trained(tiny: dict[str, Any], tmp_path: Path) -> None:
    for method, option, words in (
        ("gap_weights", "baseline", "baseline must hold 3 losses"),
        ("share_balancer", "share", "did you mean 'shares'"),
    ):
        above = merge(tiny, {"combine": {"options": {option: [1.0]}}})
        with pytest.raises(InputError, match=words):
            train(_arrays(), method=method, regime="quick", overrides=above, out=tmp_path / "bad")
    assert not (tmp_path / "bad" / "checkpoint").exists()


# What goes together


def test_the_prior_is_corrected_once(tiny: dict[str, Any], tmp_path: Path) -> None:
    weighted = {"loss": {"name": "cross_entropy", "options": {"weights": "inverse"}}}
    for place, method in enumerate(("pcgrad", "gap_weights")):
        twice = {**overlay("methods", method), **weighted, "name": "twice"}
        with pytest.raises(InputError, match=f"corrected once, got loss cross_entropy \\+ combine {method}"):
            train(_arrays(), method=twice, regime="quick", overrides=tiny, out=tmp_path / str(place))
    by_share = {"name": "once", **weighted, "combine": {"name": "pcgrad", "prior": "batch"}}
    assert train(_arrays(), method=by_share, regime="quick", overrides=tiny, out=tmp_path / "run").result


@pytest.mark.parametrize(
    ("model", "where"),
    [
        (Classifier(CifarResNet(blocks=1), nn.Sequential(nn.BatchNorm1d(64), nn.Linear(64, 3))), "head.0"),
        (create_model("timm/mobilenetv4_conv_small_050", 3), "backbone.net.norm_head"),
    ],
    ids=["head", "pooling"],
)
def test_balanced_features_with_batch_norm_behind_them_are_refused(model: Classifier, where: str) -> None:
    modes = [module.training for module in model.modules()]
    with pytest.raises(
        InputError, match=rf"share_balancer needs .*got '{where}' \(BatchNorm.*choose another"
    ):
        check_model(CombineConfig(name="share_balancer"), model, (64, 64))
    assert [module.training for module in model.modules()] == modes
    assert not any(module._forward_hooks for module in model.modules())
    check_model(CombineConfig(name="pcgrad"), model, (64, 64))


def test_batch_norm_in_the_backbone_is_no_obstacle() -> None:
    for name in ("resnet32", "tripath", "timm/resnet18"):
        check_model(CombineConfig(name="share_balancer"), create_model(name, 3, head="linear"), (64, 64))


# What is built


def test_the_optimiser_combines_what_was_asked_for() -> None:
    model = create_model("resnet32", 3)
    base = make_optimizer(OptimConfig(), list(model.parameters()))
    assert combine_in(base, CombineConfig(), model, 3) is base
    assert combine_in(base, CombineConfig(name="share_balancer"), model, 3) is base
    for parameters, module in (("backbone", model.backbone), ("all", model)):
        combine = CombineConfig(name="grad_norm", parameters=parameters, prior="batch", options={"alpha": 2})
        made: Any = combine_in(base, combine, model, 3)
        assert made._combined == {id(p) for p in module.parameters()}
        assert (made.prior, made.combiner.alpha, made.combiner.num_classes) == ("batch", 2, 3)


def test_the_loss_carries_what_the_step_needs() -> None:
    shares = CombineConfig(name="share_balancer", options={"shares": [1, 1, 2], "decay": 0.9})
    balancer: Any = add_to_loss(nn.CrossEntropyLoss(), shares, 3).balancer
    assert (balancer.shares.tolist(), balancer.decay) == ([0.25, 0.25, 0.5], 0.9)
    given = CombineConfig(name="gap_weights", options={"baseline": [1, 2, 3], "scale": "published"})
    gap: Any = add_to_loss(nn.CrossEntropyLoss(), given, 3).gap
    assert (gap.baseline.tolist(), gap.scale) == ([1.0, 2.0, 3.0], "published")
    assert not list(add_to_loss(nn.CrossEntropyLoss(), CombineConfig(name="pcgrad"), 3).children())


def test_steps_and_their_cost() -> None:
    names = {name: step_of(CombineConfig(name=name)).__name__ for name in ["none", *combinations()]}
    assert step_of(CombineConfig()) is supervised_step
    assert names["share_balancer"] == "balanced_step"
    assert names["gap_weights"] == "gap_step"
    others = combinations().keys() - {"share_balancer", "gap_weights"}
    assert {names[name] for name in others} == {combined_step.__name__}
    assert [backward_passes(CombineConfig(name=n), 10, 4) for n in ("none", "mgda", "gap_weights")] == [
        1,
        4,
        1,
    ]


def test_validation_judges_by_the_mean_of_the_same_loss() -> None:
    torch.manual_seed(0)
    logits, target = torch.randn(6, 3), torch.tensor([0, 1, 2, 0, 1, 0])
    each, mean = (CrossEntropyLoss([3, 2, 1], weights="inverse", reduction=r) for r in ("none", "mean"))
    assert (
        score(logits, target, CLASSES, each)["val_loss"] == score(logits, target, CLASSES, mean)["val_loss"]
    )
    assert each.reduction == "none"
    assert wants_each_loss(CombineConfig(name="mgda"))
    assert not wants_each_loss(CombineConfig(name="share_balancer"))


# Runs


@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains(tiny: dict[str, Any], tmp_path: Path, method: str) -> None:
    run = train(_arrays(), method=method, regime="quick", overrides=tiny, out=tmp_path / "run")
    row = json.loads((run.folder / "metrics.jsonl").read_text())
    assert 0 < row["train_loss"] < 10
    assert 0 < row["val_loss"] < 10
    weights = load_weights(run.folder / "checkpoint" / "weights.safetensors")[0]
    torch.manual_seed(0)
    fresh = create_model("tripath", 3, head="branch_sum").state_dict()
    assert weights.keys() == fresh.keys()
    trained = [key for key in fresh if key.endswith("weight") and not torch.equal(weights[key], fresh[key])]
    assert len(trained) == len([key for key in fresh if key.endswith("weight")])


@pytest.mark.parametrize(
    ("method", "options", "stored"),
    [
        ("grad_norm", {"rate": 0.5}, {"combiner.v", "combiner.first"}),
        ("pcgrad", {"seed": 3}, {"combiner.generator"}),
        ("share_balancer", {}, {"loss.balancer.shares", "loss.balancer.norm", "loss.balancer.weight"}),
    ],
)
def test_a_run_resumes_with_what_its_method_remembers(
    tiny: dict[str, Any], tmp_path: Path, method: str, options: dict[str, Any], stored: set[str]
) -> None:
    def last(name: str, above: dict[str, Any], resume: bool = False) -> dict[str, torch.Tensor]:
        whole = merge(tiny, {"train": {"epochs": 2}, "combine": {"options": options}}, above)
        out = tmp_path / name
        train(_arrays(), method=method, regime="quick", overrides=whole, out=out, resume=resume)
        return load_file(out / "checkpoint" / "last.safetensors")

    unbroken = last("whole", {})
    cut = last("cut", {"train": {"max_minutes": 1e-6}})
    torch.manual_seed(99)  # a new process has another random state
    resumed = last("cut", {}, resume=True)
    assert {key for key in cut if key.startswith(("combiner.", "loss.balancer."))} == stored
    assert unbroken.keys() == resumed.keys()
    for key, value in unbroken.items():
        torch.testing.assert_close(resumed[key], value, rtol=0, atol=0, equal_nan=True)


def test_with_the_batchs_prior_the_mean_trains_as_without_a_method(
    tiny: dict[str, Any], tmp_path: Path
) -> None:
    """CAGrad with c = 0 is the mean of its rows."""
    above = merge(tiny, {"optim": {"name": "sgd", "lr": 0.01}})
    combine = {"combine": {"prior": "batch", "options": {"c": 0}}}
    runs = [
        train(_arrays(), method="ce", regime="quick", overrides=above, out=tmp_path / "a"),
        train(
            _arrays(), method="cagrad", regime="quick", overrides=merge(above, combine), out=tmp_path / "b"
        ),
    ]
    ends = [load_file(run.folder / "checkpoint" / "last.safetensors") for run in runs]
    for key in (key for key in ends[0] if key.startswith("model.")):  # momentum doubles rounding's traces
        torch.testing.assert_close(ends[1][key], ends[0][key], rtol=1e-3, atol=1e-4)


def test_a_run_says_how_its_method_corrects_the_prior(tiny: dict[str, Any], tmp_path: Path) -> None:
    said = io.StringIO()
    console = Console(file=said, width=200)
    train(_arrays(), method="mgda", regime="quick", overrides=tiny, out=tmp_path / "run", console=console)
    result = RunFolder(tmp_path / "run").result()
    counts = result["classes"]["counts"]
    found = even_correction(CombineConfig(name="mgda"), counts, 16)
    assert found is not None
    assert "lifts the rarest over the most frequent class\n  combine mgda" in said.getvalue()
    rarest, largest = counts.index(min(counts)), counts.index(max(counts))
    times = math.exp(found.log_shift[rarest] - found.log_shift[largest])
    assert f"{times:.4g} times" in said.getvalue()


def test_compare_says_in_what_the_methods_differ(tiny: dict[str, Any], tmp_path: Path) -> None:
    methods = ["baseline", "share_balancer"]
    study = compare(_arrays(), methods, seeds=1, regime="quick", overrides=tiny, out=tmp_path / "s")
    assert yaml.safe_load((study.folder / "study.yaml").read_text())["differences"] == ["combine.name"]
    with pytest.raises(InputError, match="keys of the regime only, got 'combine'"):
        compare(_arrays(), methods, overrides={"combine": {"name": "mgda"}}, out=tmp_path / "t")


def test_a_loss_of_ones_own_gives_one_number_an_example(tiny: dict[str, Any], tmp_path: Path) -> None:
    class Brier(nn.Module):
        def __init__(self, class_counts: list[int]) -> None:
            super().__init__()
            self.classes = len(class_counts)

        def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
            return (logits.softmax(1) - nn.functional.one_hot(target, self.classes)).square().sum(1)

    class Mean(Brier):
        def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
            return super().forward(logits, target).mean()

    above = merge(tiny, {"combine": {"name": "mgda"}})
    run = train(_arrays(), method=Brier, regime="quick", overrides=above, out=tmp_path / "own")
    assert run.result["method"] == "Brier"
    with pytest.raises(InputError, match=r'losses must be one number an example.*reduction="none"'):
        train(_arrays(), method=Mean, regime="quick", overrides=above, out=tmp_path / "mean")


def test_the_command_line_lists_and_takes_them(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tailgrad.cli.app import main

    monkeypatch.setattr("sys.argv", ["tailgrad", "methods", "--json"])
    with contextlib.suppress(SystemExit):
        main()
    listed = json.loads(capsys.readouterr().out)["entries"]
    for method in METHODS:
        entry = next(e for e in listed if (e["kind"], e["name"]) == ("method", method))
        assert entry["paper"]
        assert "ours" in entry["status"], method
