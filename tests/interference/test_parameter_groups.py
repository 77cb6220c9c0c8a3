"""Backbone, head, all, globs and predicates; layers partition the parameters."""

import numpy as np
import pytest
import timm
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from tailgrad.checks import InputError
from tailgrad.interference import measure
from tailgrad.interference.groups import Groups, find_groups
from tailgrad.interference.network import Network


def _groups(model: nn.Module, *shape: int, parameters: object = "all") -> Groups:
    return find_groups(Network(model), torch.randn(2, *shape), parameters)  # type: ignore[arg-type]


class _TiedHead(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.out = nn.Linear(5, 5), nn.Linear(5, 5)
        self.out.weight = self.embed.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.embed(x).tanh())


class _TwoHeads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.left, self.right = nn.Linear(5, 7), nn.Linear(7, 3), nn.Linear(7, 3)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.body(x).relu()
        return self.left(hidden) + self.right(hidden)


class _OwnScale(nn.Module):
    """The root owns a parameter and the last layer's output is not yet the logits."""

    def __init__(self) -> None:
        super().__init__()
        self.scale, self.body, self.last = nn.Parameter(torch.ones(())), nn.Linear(5, 7), nn.Linear(7, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * self.last(self.body(x).relu())


class _Aliased(nn.Module):
    """The same module under two names, logits as an attribute, a view of the last output."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.fc = nn.Linear(5, 7), nn.Conv2d(7, 3, 1)
        self.classifier = self.fc

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.body(x)[:, :, None, None]).flatten(1)


class _WithBackbone(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(7, 3)
        self.backbone = nn.Linear(5, 7)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.backbone(x))


def test_backbone_attribute_decides() -> None:
    groups = _groups(_WithBackbone(), 5)
    assert groups.groups["backbone"] == ["backbone.weight", "backbone.bias"]
    assert groups.groups["head"] == ["head.weight", "head.bias"]
    assert list(groups.layers) == ["head", "backbone"]  # order of definition


def test_tied_parameters_stay_in_the_backbone() -> None:
    groups = _groups(_TiedHead(), 5)
    assert groups.groups == {
        "backbone": ["embed.weight", "embed.bias"],
        "head": ["out.bias"],
        "all": ["embed.weight", "embed.bias", "out.bias"],
    }


def test_a_module_under_two_names_and_a_view_are_still_the_head() -> None:
    assert _groups(_Aliased(), 5).groups["head"] == ["fc.weight", "fc.bias"]


def test_the_innermost_module_that_returns_the_logits_is_the_head() -> None:
    classifier = nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 3))
    groups = _groups(nn.Sequential(nn.Linear(5, 5), classifier), 5)
    assert groups.groups["head"] == ["1.2.weight", "1.2.bias"]


def test_a_parametrised_weight_belongs_to_its_layer_s_head() -> None:
    groups = _groups(nn.Sequential(nn.Linear(5, 5), weight_norm(nn.Linear(5, 3))), 5)
    assert len(groups.groups["head"]) == 3
    assert [name for layer in groups.layers.values() for name in layer] == groups.groups["all"]


@pytest.mark.parametrize("name", ["resnet10t", "vit_tiny_patch16_224", "mobilenetv3_small_050"])
def test_timm_models_need_no_hint(name: str) -> None:
    model = timm.create_model(name, num_classes=5)
    groups = _groups(model, 3, 224, 224)
    assert groups.groups["head"] == [
        f"{timm_head}.{p}" for timm_head in [_head(model)] for p in ("weight", "bias")
    ]
    listed = [name for layer in groups.layers.values() for name in layer]
    assert sorted(listed) == sorted(n for n, _ in model.named_parameters())


def _head(model: nn.Module) -> str:
    return str(model.default_cfg["classifier"])


def test_ambiguous_heads_are_listed() -> None:
    with pytest.raises(InputError, match=r"candidates for the head: left, right; choose 'all', a glob"):
        _groups(_TwoHeads(), 5, parameters="backbone")
    with pytest.raises(InputError, match=r"'head' needs .* candidates for the head: last;"):
        _groups(_OwnScale(), 5, parameters="head")


def test_without_a_clear_head_all_and_globs_still_work() -> None:
    assert list(_groups(_TwoHeads(), 5).groups) == ["all"]
    assert _groups(_TwoHeads(), 5, parameters="body.*").groups["body.*"] == ["body.weight", "body.bias"]
    assert "(model)" in _groups(_OwnScale(), 5).layers


def test_a_model_that_is_all_head_has_no_backbone() -> None:
    with pytest.raises(
        InputError, match=r"'backbone' must hold at least one parameter.*choose parameters='all'"
    ):
        _groups(nn.Linear(5, 3), 5, parameters="backbone")
    assert _groups(nn.Linear(5, 3), 5, parameters="head").groups["head"] == ["weight", "bias"]


def test_predicate_and_glob_select_the_same(perceptron: nn.Module) -> None:
    data = [(torch.randn(20, 6).double(), torch.arange(20) % 4)]

    def biases(name: str, parameter: nn.Parameter) -> bool:
        return parameter.ndim == 1

    one, other = measure(perceptron, data, "*.bias"), measure(perceptron, data, biases)
    assert (one.primary, other.primary) == ("*.bias", "biases")
    assert list(one.groups) == ["backbone", "head", "all", "*.bias"]
    np.testing.assert_array_equal(one.conflict, other.conflict)
    np.testing.assert_array_equal(one.null, other.null)
    np.testing.assert_array_equal(one.conflict, one.groups["*.bias"])
    assert measure(perceptron, data, lambda _, p: p.ndim == 2).primary == "selected"


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ("backbon", "did you mean 'backbone'"),
        ("0.weigh", "did you mean '0.weight'"),
        ("layer9.*", "must match at least one parameter, got 'layer9.*'"),
        (lambda *_: False, "names such as '0.weight'"),
        (3, "a group, a glob or a callable, got int"),
    ],
)
def test_bad_selection(parameters: object, message: str, perceptron: nn.Module) -> None:
    with pytest.raises(InputError, match=message):
        measure(perceptron, [(torch.randn(4, 6).double(), torch.arange(4))], parameters)  # type: ignore[arg-type]
