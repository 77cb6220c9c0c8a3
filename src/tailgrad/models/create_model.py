"""One call from names to a classifier."""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn

from tailgrad.checks import InputError, nearest, one_of
from tailgrad.heads.names import head_class
from tailgrad.models.backbone import Backbone
from tailgrad.models.bbn import BBN
from tailgrad.models.check_map import check_map
from tailgrad.models.cifar_resnet import resnet8, resnet32
from tailgrad.models.classifier import Classifier
from tailgrad.models.ft_transformer import FTTransformer
from tailgrad.models.mlp import MLP
from tailgrad.models.multi_expert import MultiExpert
from tailgrad.models.small_conv import SmallConv
from tailgrad.models.table_resnet import TableResNet
from tailgrad.models.timm_backbone import TimmBackbone
from tailgrad.models.tripath import TriPath
from tailgrad.models.wide_resnet import wrn28_10

BACKBONES: dict[str, Callable[..., Backbone]] = {
    "tripath": TriPath,
    "small_conv": SmallConv,
    "resnet8": resnet8,
    "resnet32": resnet32,
    "wrn28_10": wrn28_10,
    "mlp": MLP,
    "table_resnet": TableResNet,
    "ft_transformer": FTTransformer,
}
TABLE_BACKBONES = ("mlp", "table_resnet", "ft_transformer")
TIMM = "timm/"
ARCHITECTURES: dict[str, Callable[..., Classifier]] = {"multi_expert": MultiExpert, "bbn": BBN}


def create_model(
    name: str = "tripath",
    num_classes: int = 2,
    *,
    head: str = "linear",
    pretrained: bool = False,
    head_options: dict[str, Any] | None = None,
    backbone_options: dict[str, Any] | None = None,
    image_size: tuple[int, int] | None = None,
    architecture: str = "single",
    architecture_options: dict[str, Any] | None = None,
) -> Classifier:
    """Build a classifier by name.

    Args:
        name: ``"tripath"``, ``"resnet32"``, ``"wrn28_10"`` or ``"timm/"`` and any timm image model; for
            tables and vectors ``"mlp"``, ``"table_resnet"`` or ``"ft_transformer"``.
        num_classes: K, at least 2.
        head: a head's name: ``"linear"``, ``"cosine"``, ``"etf"``, ``"branch_sum"``, ``"csba"``,
            ``"class_heads"``, ``"branch_softmax"``, ``"conflict_branches"``, ``"se_gate"``, ``"wider_head"``.
        pretrained: load weights trained elsewhere, for timm models.
        head_options: the head's arguments by name, such as ``{"dropout": 0.3}``.
        backbone_options: the backbone's arguments by name, such as ``{"slope": 0.1}``; those for tables need
            ``numbers``, the numeric columns, and ``categories``, the cardinality of each categorical one.
        image_size: (height, width) of the images to come; runs ``check_map`` on it.
        architecture: ``"single"``, or ``"multi_expert"`` or ``"bbn"``, which own several copies of the
            backbone's last stages (``MultiExpert``, ``BBN``).
        architecture_options: its arguments by name, such as ``{"experts": 3, "share_until": "stage1"}``.

    Raises:
        InputError: a name or option is unknown (the nearest is named), a value is outside its range,
            pretrained weights do not exist or cannot be had, or images of ``image_size`` are too small.

    Where a head on the map leaves parts of a timm model without use (the last layers of MobileNetV3, the norm
    after ConvNeXt's pooling), their parameters are frozen.

    Source: design choice of this library; the networks name theirs.

    Example:
        >>> model = create_model("tripath", 6, head="csba")
        >>> sum(p.numel() for p in model.parameters())
        1792594
    """
    make_backbone = partial(_backbone_for, head, name, pretrained, backbone_options or {})
    make_head = partial(_head, head, num_classes=num_classes, options=head_options or {})
    classifier = _join(architecture, architecture_options or {}, make_backbone, make_head)
    if image_size is not None:
        check_map(classifier, image_size)
    return classifier


def _join(
    architecture: str,
    options: dict[str, Any],
    make_backbone: Callable[[], Backbone],
    make_head: Callable[[Backbone], nn.Module],
) -> Classifier:
    one_of("architecture", architecture, ["single", *ARCHITECTURES])
    if architecture in ARCHITECTURES:
        build = ARCHITECTURES[architecture]
        _check_options("architecture_options", options, build)
        return build(make_backbone, make_head, **options)
    if options:
        raise InputError(
            f"architecture_options must be empty for 'single', got {options}; name an architecture"
        )
    backbone = make_backbone()
    return Classifier(backbone, make_head(backbone))


def _backbone_for(head: str, name: str, pretrained: bool, options: dict[str, Any]) -> Backbone:
    """The backbone, without gradients for layers that a head on the map leaves unused."""
    takes_map = getattr(head_class(head), "takes", "pooled") == "map"
    backbone = _backbone(name, pretrained, options)
    if takes_map and backbone.grid and isinstance(backbone, TimmBackbone):
        backbone.freeze_pool()
    return backbone


def _backbone(name: str, pretrained: bool, options: dict[str, Any]) -> Backbone:
    if name.startswith(TIMM):
        return TimmBackbone(name.removeprefix(TIMM), pretrained=pretrained, options=options)
    if name not in BACKBONES:
        hint = nearest(name, BACKBONES)
        raise InputError(f"name must be a known model, got {name!r}; {hint} (or timm/<any timm image model>)")
    if pretrained:
        raise InputError(f"pretrained must be False for {name!r}, got True; only timm models bring weights")
    _check_options("backbone_options", options, BACKBONES[name])
    _check_needed("backbone_options", options, BACKBONES[name])
    return BACKBONES[name](**options)


def _head(name: str, backbone: Backbone, num_classes: int, options: dict[str, Any]) -> nn.Module:
    cls = head_class(name)
    _check_options("head_options", options, cls)
    takes_map = backbone.grid and getattr(cls, "takes", "pooled") == "map"
    if "grid" in inspect.signature(cls).parameters:
        options = {"grid": backbone.grid, **options}
    return cls(backbone.channels if takes_map else backbone.pooled, num_classes, **options)


def _check_options(argument: str, options: dict[str, Any], build: Callable[..., Any]) -> None:
    parameters = inspect.signature(build).parameters.values()
    known = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
    for key in options:
        if key not in known:
            hint = nearest(key, known) if known else "it takes none"
            raise InputError(f"{argument} must name options of {build.__name__}, got {key!r}; {hint}")


def _check_needed(argument: str, options: dict[str, Any], build: Callable[..., Any]) -> None:
    parameters = inspect.signature(build).parameters.values()
    for p in parameters:
        if p.kind is p.KEYWORD_ONLY and p.default is p.empty and p.name not in options:
            raise InputError(f"{argument} must hold {p.name!r} for {build.__name__}, got {options}; give it")
