"""The parts of later stages one by one: what learns, what is folded in, what is chosen, what is known."""

from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score
from torch import Tensor, nn

from tailgrad.checks import InputError
from tailgrad.engine import load_weights
from tailgrad.heads import Linear
from tailgrad.losses import CrossEntropyLoss
from tailgrad.optim import MaxNorm
from tailgrad.recipes import stages, train
from tailgrad.recipes.compose import validate
from tailgrad.recipes.config import Config, StageConfig
from tailgrad.recipes.stage_checks import stage_config
from tailgrad.recipes.stage_training import _learning, _scaled, _slow_head
from tailgrad.recipes.stages import Step, _begin, _merge, _ncm, _tau_norm, merged
from tailgrad.types import ClassInfo

BODY = {"backbone.1.weight", "backbone.1.bias", "backbone.2.weight", "backbone.2.bias"}


class _Net(nn.Module):
    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.backbone = nn.Sequential(nn.Flatten(), nn.Linear(12, 4), nn.BatchNorm1d(4), nn.ReLU())
        self.head = Linear(4, 3)
        nn.init.normal_(self.head.bias)  # it starts at 0, where nothing that happens to it is seen

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.backbone(images))
        return logits


def _stage(**fields: Any) -> StageConfig:
    return StageConfig(name="s", **fields)


# What learns


@pytest.mark.parametrize(
    ("trains", "learning"),
    [
        ("all", (BODY - {"backbone.1.bias"}) | {"head.weight", "head.bias"}),
        ("head", {"head.weight", "head.bias"}),
        ("scales", {"head.scales"}),
        ("head_and_scales", {"head.scales", "head.head.weight", "head.head.bias"}),
    ],
)
@pytest.mark.parametrize("fails", [False, True])
def test_only_what_the_stage_trains_has_gradients(trains: str, learning: set[str], fails: bool) -> None:
    network, stage = _Net(), _stage(trains=trains)
    network.backbone[1].bias.requires_grad_(False)  # was frozen before, and stays so
    before = {name: p.requires_grad for name, p in network.named_parameters()}
    try:
        with _scaled(network, stage), _learning(network, stage):
            assert {name for name, p in network.named_parameters() if p.requires_grad} == learning
            if fails:
                raise RuntimeError
    except RuntimeError:
        assert fails
    assert {name: p.requires_grad for name, p in network.named_parameters()} == before


@pytest.mark.parametrize("trains", ["scales", "head_and_scales"])
def test_scales_become_a_part_of_the_weights(trains: str) -> None:
    network, images = _Net().eval(), torch.rand(5, 3, 2, 2)
    head, plain = network.head, network(images)
    with _scaled(network, _stage(trains=trains)):
        torch.testing.assert_close(network(images), plain)
        with torch.no_grad():
            network.head.scales.copy_(torch.tensor([0.5, 1.0, -3.0]))
        inside = network(images)
    assert network.head is head
    torch.testing.assert_close(inside, plain * torch.tensor([0.5, 1.0, -3.0]))
    torch.testing.assert_close(network(images), inside)


@pytest.mark.parametrize("factor", [0.1, 1.0])
def test_the_head_learns_at_its_own_rate_and_nothing_is_lost(factor: float) -> None:
    network, stage = _Net(), _stage(trains="head_and_scales", head_lr_factor=factor)
    with _scaled(network, stage), _learning(network, stage):
        learning = {id(p): name for name, p in network.named_parameters() if p.requires_grad}
        optimizer = torch.optim.SGD(
            [p for p in network.parameters() if p.requires_grad], lr=0.2, momentum=0.9, weight_decay=0.01
        )
        _slow_head(optimizer, network, stage)
    rates = {learning[id(p)]: group["lr"] for group in optimizer.param_groups for p in group["params"]}
    head = pytest.approx(0.2 * factor)
    assert rates == {"head.scales": 0.2, "head.head.weight": head, "head.head.bias": head}
    assert sum(len(group["params"]) for group in optimizer.param_groups) == 3
    assert {(g["momentum"], g["weight_decay"]) for g in optimizer.param_groups} == {(0.9, 0.01)}


def test_training_all_moves_every_weight_and_the_statistics(photos: Path, tmp_path: Path) -> None:
    """The counterpart of the stages that keep the backbone's bytes: here BatchNorm has to follow."""
    small = {
        "data": {"size": 32, "near_duplicates": False},
        "model": {"name": "resnet8"},
        "train": {"epochs": 1, "batch_size": 8, "precision": "float32", "channels_last": False},
        "interference": {"enabled": False},
    }
    method = {
        "name": "staged",
        "head": {"name": "linear"},
        "loss": {"name": "cross_entropy"},
        "stages": [{"name": "whole", "trains": "all", "epochs": 1}],
    }
    run = train(photos, "quick", method=method, overrides=small, out=tmp_path / "run")
    before, after = (
        load_weights(run.folder / "checkpoint" / f"{name}.safetensors")[0] for name in ("weights", "final")
    )
    same = {name for name in before if torch.equal(before[name], after[name])}
    assert same == set()
    assert any(name.endswith("running_var") for name in before)
    steps = {name: int(after[name] - before[name]) for name in before if name.endswith("batches_tracked")}
    assert len(set(steps.values())) == 1
    assert min(steps.values()) >= 3


# Merging


@settings(max_examples=25)
@given(st.floats(0, 1))
def test_merging_is_linear_in_all_but_counters(share: float) -> None:
    one, two = _Net(1), _Net(2)
    for times, network in ((2, one), (5, two)):
        for _ in range(times):
            network(torch.randn(8, 3, 2, 2) + times)
    first, second = one.state_dict(), two.state_dict()
    found, turned = merged(first, second, share), merged(second, first, 1 - share)
    assert found.keys() == first.keys()
    for name, value in found.items():
        if value.is_floating_point():
            exact = share * first[name].double() + (1 - share) * second[name].double()
            torch.testing.assert_close(value.double(), exact, atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(value, turned[name])
    assert int(found["backbone.2.num_batches_tracked"]) == 2
    assert int(turned["backbone.2.num_batches_tracked"]) == 5
    torch.testing.assert_close(merged(first, first, share), dict(first))
    _Net(3).load_state_dict(found)


def _job(network: nn.Module, **more: Any) -> Any:
    learner = SimpleNamespace(network=network, loss=CrossEntropyLoss())
    ready = SimpleNamespace(classes=ClassInfo(("a", "b", "c"), (60, 30, 10)))
    return SimpleNamespace(learner=learner, ready=ready, **more)


def _folder(path: Path) -> Any:
    return SimpleNamespace(path=path)


@pytest.mark.parametrize("best", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("sampler", ["instance", "square_root"])
def test_merging_takes_the_best_of_eleven_shares(
    best: float, sampler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, asked = _Net(), []
    start = deepcopy(network.state_dict())

    def fine_tune(job: Any, stage: StageConfig, folder: Path, number: int) -> Any:
        assert all(
            torch.equal(value, start[name]) for name, value in job.learner.network.state_dict().items()
        )
        asked.append((stage.sampler.name, folder.name, number))
        with torch.no_grad():
            for parameter in job.learner.network.parameters():
                parameter.fill_(1.0 if stage.sampler.name == "instance" else 0.0)
        return SimpleNamespace(stopped="")

    def closeness(job: Any) -> float:
        return -abs(float(job.learner.network.head.bias[0].detach()) - best)

    monkeypatch.setattr(stages, "train_stage", fine_tune)
    monkeypatch.setattr(stages, "validation_macro_f1", closeness)
    stage = _stage(kind="merge", trains="all", sampler={"name": sampler})
    found = _merge(Step(_job(network, folder=_folder(tmp_path)), stage, 4))
    other = "class_balanced" if sampler == "instance" else sampler
    assert asked == [("instance", "instance", 4), (other, other, 4)]
    assert found == {"natural share": best}
    assert all(torch.allclose(p, torch.tensor(best)) for p in network.parameters())


# Heads that are replaced without training


def _features(network: _Net, monkeypatch: pytest.MonkeyPatch) -> tuple[Tensor, Tensor]:
    torch.manual_seed(3)
    target = torch.tensor([0] * 60 + [1] * 30 + [2] * 10)
    centres = torch.tensor([[3.0, 0, 0, 0], [0, 2.0, 0, 0], [0, 0, 1.0, 1.0]])
    features = centres[target] + torch.randn(100, 4)
    with torch.no_grad():
        network.head.weight.copy_(centres * torch.tensor([[3.0], [1.0], [0.3]]))
    monkeypatch.setattr(stages, "pooled_features", lambda *_: (features, target))
    return features, target


def test_the_best_tau_is_that_of_a_search_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    network = _Net()
    features, target = _features(network, monkeypatch)
    weight = network.head.weight.detach().double().clone()
    scores = []
    for i in range(21):
        rows = weight / weight.norm(dim=1, keepdim=True) ** (i / 10)
        scores.append(f1_score(target, (features.double() @ rows.T).argmax(1), average="macro"))
    best = int(np.argmax(scores)) / 10
    assert 0 < best < 2
    assert _tau_norm(Step(_job(network), _stage(kind="tau_norm"), 1)) == {"tau": best}
    expected = weight / weight.norm(dim=1, keepdim=True) ** best
    torch.testing.assert_close(network.head.weight.detach().double(), expected, rtol=1e-5, atol=1e-6)
    assert not network.head.bias.any()


def test_nearest_means_decide_as_distances_do(monkeypatch: pytest.MonkeyPatch) -> None:
    network = _Net()
    features, target = _features(network, monkeypatch)
    assert _ncm(Step(_job(network), _stage(kind="ncm"), 1)) == {}
    means = torch.stack([features[target == k].mean(0) for k in range(3)])
    probes = 3 * torch.randn(500, 4)
    distances = torch.cdist(probes, means).square()
    logits = network.head(probes).detach()
    assert torch.equal(logits.argmax(1), distances.argmin(1))
    # Differences of logits are differences of squared distances, so that shares are those of a Gaussian.
    torch.testing.assert_close(logits[:, :1] - logits, distances - distances[:, :1], rtol=1e-3, atol=1e-3)


def test_a_stage_keeps_its_folder_only_while_it_begins_with_the_same_weights(tmp_path: Path) -> None:
    weights, folder = tmp_path / "weights", tmp_path / "stage"
    weights.write_bytes(b"first")
    kept = []
    for content in (b"first", b"first", b"second", b"second"):
        weights.write_bytes(content)
        _begin(folder, weights)
        kept.append((folder / "epochs").exists())
        (folder / "epochs").write_text("")
    assert kept == [False, True, False, True]
    (folder / "begins-with").unlink()  # who knows what it began with
    _begin(folder, weights)
    assert not (folder / "epochs").exists()


# Which keys mean something

VALUES: dict[str, Any] = {
    "epochs": 3,
    "trains": "head_and_scales",
    "head": "reset",
    "features": "smote",
    "sampler": {"name": "class_balanced"},
    "loss": {"name": "focal"},
    "mixing": {"name": "mixup"},
    "optim": {"name": "sgd", "lr": 0.1},
    "head_lr_factor": 0.5,
    "max_norm": True,
    "tau": 1.0,
    "neighbours": 3,
}
TRAINING = {"epochs", "trains", "loss", "optim"}
KNOWN = {
    ("train",): TRAINING | {"head", "features", "sampler", "mixing", "max_norm"},
    ("train", "smote"): TRAINING | {"head", "features", "max_norm", "neighbours"},
    ("merge",): TRAINING | {"sampler", "mixing"},
    ("tau_norm",): {"tau"},
    ("ncm",): set(),
}


def test_the_table_of_keys_is_whole() -> None:
    assert {"name", "kind", *VALUES} == set(StageConfig.model_fields)


@pytest.mark.parametrize("key", VALUES)
@pytest.mark.parametrize("kind", KNOWN, ids="-".join)
def test_a_key_is_taken_where_it_means_something(kind: tuple[str, ...], key: str) -> None:
    features = {"features": "smote"} if "smote" in kind else {}
    content = {"name": "s", "kind": kind[0], **features, key: VALUES[key]}
    if key in KNOWN[kind]:
        made = validate({"source": "x", "stages": [content]}).stages[0]
        assert getattr(made, key) != StageConfig.model_fields[key].default
    else:
        with pytest.raises(InputError, match=rf"{key} means nothing to a stage of this kind"):
            validate({"source": "x", "stages": [content]})


def test_the_heads_rate_is_for_stages_that_train_scales_beside_it() -> None:
    both = {"trains": "head_and_scales", "head_lr_factor": 0.5}
    assert _stage(**both).head_lr_factor == 0.5
    for trains in ("all", "head", "scales"):
        with pytest.raises(ValueError, match="head_lr_factor means nothing"):
            _stage(**both | {"trains": trains})


def test_a_stage_takes_its_loss_and_epochs_and_leaves_gradients_alone() -> None:
    parts = {
        "loss": {"name": "focal"},
        "sharpness": {"name": "sam"},
        "auxiliary": {"name": "nt_xent"},
        "optim": {"lr": 0.3},
    }
    config = Config(source="x", seed=5, **parts)
    kept = stage_config(config, _stage(epochs=7))
    own = stage_config(config, _stage(loss={"name": "ldam"}))
    assert (kept.loss.name, own.loss.name) == ("focal", "ldam")
    assert (kept.sharpness.name, kept.auxiliary.name, kept.combine.name) == ("none",) * 3
    assert (kept.train.epochs, kept.optim.lr, kept.seed) == (7, 0.3, 5)
    assert config.sharpness.name == "sam"
    assert config.train.epochs != 7


@pytest.mark.parametrize("trains", ["head", "scales", "head_and_scales", "all"])
def test_rows_are_projected_where_the_head_keeps_its_rows(trains: str) -> None:
    """Under scales the rows lie a module deeper: refused before training, not after it."""
    if "scales" in trains:
        with pytest.raises(ValueError, match="max_norm means nothing"):
            _stage(trains=trains, max_norm=True)
        return
    network, stage = _Net(), _stage(trains=trains, max_norm=True)
    with _scaled(network, stage), _learning(network, stage):
        ball = MaxNorm(network.head)
        ball.project()
    assert network.head.weight.norm(dim=1).max() <= ball.theta * (1 + 1e-5)
