"""Wire model, loss, optimiser and schedule from a configuration."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import nn

from tailgrad.augment import Normalize
from tailgrad.checks import InputError
from tailgrad.distributed import place
from tailgrad.engine import Compiled, Learner, Schedule, gap_step, parts_of, supervised_step
from tailgrad.engine.compiled import MODES
from tailgrad.models import Classifier, create_model
from tailgrad.optim.clip_norm import clip_norm
from tailgrad.recipes.combine import add_to_loss
from tailgrad.recipes.components import build
from tailgrad.recipes.config import Config, OptimConfig, ScheduleConfig
from tailgrad.recipes.hub import patient_only_if_reachable
from tailgrad.recipes.own_code import OWN
from tailgrad.recipes.own_loss import MakeLoss, make_own
from tailgrad.recipes.stepping import (
    add_auxiliary,
    choose_objective,
    choose_step,
    needs_each_loss,
    wrap_optimizer,
)
from tailgrad.recipes.transforms import make_mixer, make_transforms, make_views
from tailgrad.recipes.waiting import Say, silent
from tailgrad.types import ClassInfo


def head_name(config: Config) -> str:
    """The head meant: ``baseline`` is ``branch_sum`` on tripath, ``linear`` on any other backbone.

    Example:
        >>> from tailgrad.recipes.config import ModelConfig
        >>> head_name(Config(source="x")), head_name(Config(source="x", model=ModelConfig(name="resnet32")))
        ('branch_sum', 'linear')
    """
    if config.head.name != "baseline":
        return config.head.name
    return "branch_sum" if config.model.name == "tripath" else "linear"


def make_model(
    config: Config, num_classes: int, say: Say = silent, columns: Mapping[str, Any] | None = None
) -> Classifier:
    """The classifier, initialised from the configuration's seed.

    Args:
        config: names backbone and head.
        num_classes: K.
        say: told whether pretrained weights could be had.
        columns: of a table, as ``Prepared.columns``; nothing for images.

    Raises:
        InputError: the backbone, the head or an option is unknown, or pretrained weights were demanded and
            cannot be had.

    Example:
        >>> from tailgrad.recipes.compose import compose
        >>> model = make_model(compose("digits-lt", "digits", "csba"), 10)
        >>> sum(p.numel() for p in model.parameters())
        1801822
    """
    if config.model.pretrained == "auto":
        config = with_pretrained(config, wanted=settle_pretrained(config, num_classes, say))
    torch.manual_seed(config.seed)
    with patient_only_if_reachable() if config.model.pretrained else nullcontext():
        return create_model(
            config.model.name,
            num_classes=num_classes,
            head=head_name(config),
            head_options=dict(config.head.options),
            pretrained=bool(config.model.pretrained),
            backbone_options={**config.model.options, **(columns or {})},
            architecture=config.architecture.name,
            architecture_options=dict(config.architecture.options),
        )


def settle_pretrained(config: Config, num_classes: int, say: Say = silent) -> bool:
    """Whether pretrained weights are used: what the configuration says, tried out where it says ``auto``.

    Example:
        >>> settle_pretrained(Config(source="x"), 10)
        False
    """
    if config.model.pretrained != "auto":
        return config.model.pretrained
    if not config.model.name.startswith("timm/"):
        return False
    try:
        make_model(with_pretrained(config, wanted=True), num_classes)
    except InputError as error:
        if "pretrained" not in str(error):
            raise
        say(
            f"training from scratch: pretrained weights of {config.model.name} could not be had here "
            "(neither in the cache nor to be fetched); run once where there is a network, or "
            "set model.pretrained=false to mean it"
        )
        return False
    return True


def with_pretrained(config: Config, *, wanted: bool) -> Config:
    """The configuration with pretrained weights or without.

    Example:
        >>> with_pretrained(Config(source="x"), wanted=True).model.pretrained
        True
    """
    return config.model_copy(update={"model": config.model.model_copy(update={"pretrained": wanted})})


def make_loss(
    config: Config,
    classes: ClassInfo,
    own: MakeLoss | None = None,
    model: Classifier | None = None,
    examples: int | None = None,
) -> nn.Module:
    """The loss, told the training counts, as the step wants it (see ``recipes.combine``).

    Args:
        config: names one of tailgrad's losses and its options, and what combines class gradients.
        classes: names and training counts.
        own: makes a loss of the user's own from the counts; the configuration then only records what it is.
        model: gives the loss what it shares with the head, such as an ETF's class vectors, and a second loss
            its width.
        examples: training examples, for losses of several labels: the counts sum to more.

    Raises:
        InputError: the loss or an option is unknown, or an option is out of range; a loss of the user's own
            is named in the configuration and not given, or fails.

    Example:
        >>> from tailgrad.recipes.compose import compose
        >>> make_loss(compose("x", "digits", "focal"), ClassInfo(("a", "b"), (3, 1))).takes
        'logits'
    """
    if own is not None and config.loss.name.startswith(OWN):
        loss = make_own(own, classes.counts)
    else:
        loss = _named_loss(config, classes, model, examples)
    loss = add_to_loss(loss, config.combine, classes.num_classes)
    return loss if model is None else add_auxiliary(loss, config, model, classes.counts)


def class_weights_of(loss: nn.Module) -> tuple[float, ...] | None:
    """The class weights of a loss, for what a measurement says of who helps and who hurts whom.

    Example:
        >>> from tailgrad.losses import CrossEntropyLoss
        >>> class_weights_of(CrossEntropyLoss([3, 1], weights="inverse"))
        (0.6666666666666666, 2.0)
    """
    weights: tuple[float, ...] | None = getattr(getattr(loss, "weighting", None), "weights", None)
    return weights


def _named_loss(
    config: Config, classes: ClassInfo, model: Classifier | None, examples: int | None
) -> nn.Module:
    if config.loss.name.startswith(OWN):
        raise InputError(f"loss.name={config.loss.name} is a class of your own; give it again in Python")
    each = {"reduction": "none"} if needs_each_loss(config) else {}
    filled: dict[str, Any] = {"epochs": config.train.epochs, "num_samples": examples}
    vectors = getattr(getattr(model, "head", None), "vectors", None)
    if vectors is not None:
        filled["vectors"] = vectors
    loss: nn.Module = build(
        "losses", config.loss.name, config.loss.options | each, list(classes.counts), filled=filled
    )
    return loss


def make_optimizer(
    config: OptimConfig, parameters: Sequence[nn.Parameter], *, fused: bool = False, most: float = 0.0
) -> torch.optim.Optimizer:
    """Adam, AdamW or SGD.

    Args:
        config: which, and its numbers.
        parameters: those to train.
        fused: update all parameters in one kernel; without, PyTorch chooses.
        most: largest norm of the gradient of a step; 0 does not clip.

    Example:
        >>> make_optimizer(OptimConfig(), [nn.Parameter(torch.zeros(1))]).defaults["lr"]
        0.001
    """
    shared: dict[str, Any] = {"lr": config.lr, "weight_decay": config.weight_decay, "fused": fused or None}
    if config.name == "sgd":
        sgd = torch.optim.SGD(parameters, momentum=config.momentum, nesterov=config.nesterov, **shared)
        return clip_norm(sgd, most)
    made = torch.optim.Adam if config.name == "adam" else torch.optim.AdamW
    return clip_norm(made(parameters, betas=config.betas, **shared), most)


def make_schedule(config: ScheduleConfig, epochs: int) -> Schedule:
    """The learning-rate schedule.

    Example:
        >>> make_schedule(ScheduleConfig(name="cosine"), 10).factor(10)
        0.0
    """
    return Schedule(config.name, epochs, config.every, config.milestones, config.gamma, config.warmup)


def needed_size(config: Config) -> tuple[int, int] | None:
    """The one input size that a backbone takes (vision transformers), or None where any size will do.

    Example:
        >>> needed_size(Config(source="x")) is None
        True
    """
    if not config.model.name.startswith("timm/"):
        return None
    backbone = create_model(config.model.name, num_classes=2).backbone
    return backbone.input_size


def normalizer(model: Classifier, measured: Callable[[], Normalize]) -> Normalize:
    """Means and deviations that the backbone was made for, else those of the training images.

    Args:
        model: a timm backbone knows its own.
        measured: gives those of the training images.

    Example:
        >>> model = create_model("timm/resnet18", num_classes=2)
        >>> normalizer(model, lambda: Normalize([0.5], [0.5])).mean
        (0.485, 0.456, 0.406)
    """
    known = getattr(getattr(model.backbone, "net", None), "pretrained_cfg", None)
    return Normalize(known["mean"], known["std"]) if known else measured()


def device_of(name: str) -> torch.device:
    """The device meant by ``auto``, ``cpu`` or ``cuda``.

    Raises:
        InputError: a GPU is asked for and there is none.

    Example:
        >>> device_of("cpu").type
        'cpu'
    """
    there = torch.cuda.is_available()
    if name == "cuda" and not there:
        raise InputError(
            f"train.device must be a device of this machine, got {name!r} and no GPU that PyTorch can use; "
            "set train.device=cpu"
        )
    return torch.device("cuda" if there and name != "cpu" else "cpu")


def can_compile(config: Config) -> bool:
    """Whether the method's step is one backward pass through backbone and head as ``torch.compile`` sees it.

    Example:
        >>> can_compile(Config(source="x")), can_compile(Config(source="x", sharpness={"name": "sam"}))
        (True, False)
    """
    return config.architecture.name != "bbn" and choose_step(config) in (supervised_step, gap_step)


def make_compiled(config: Config, model: Classifier) -> Compiled | None:
    """Compiled code of the network for whole training batches, where the configuration wants it.

    Example:
        >>> make_compiled(Config(source="x"), create_model("resnet32", 2)) is None
        True
    """
    if config.train.compile not in MODES or not can_compile(config):
        return None
    return Compiled(parts_of(model), config.train.compile, config.train.batch_size)


def assemble(
    config: Config,
    model: Classifier,
    loss: nn.Module,
    prepare: Normalize,
    counts: Sequence[int],
) -> Learner:
    """Model, loss and optimiser under Lightning Fabric; what is "auto" of speed is settled by now.

    Example: see ``recipes.train``.
    """
    from lightning.fabric.plugins import MixedPrecision

    from tailgrad.recipes.launch import join, make_fabric

    device = device_of(config.train.device)
    if device.type == "cuda":  # so that a resumed run ends with the same weights on a GPU too
        torch.backends.cudnn.deterministic = True
    mixed = config.train.precision == "bfloat16"
    plugins: Any = [MixedPrecision("bf16-mixed", device.type)] if mixed else None
    fabric = make_fabric(device, place()[1], plugins)
    join(model)
    loss = loss.to(device)
    layout = torch.channels_last if config.train.channels_last else torch.contiguous_format
    laid_out = model.to(memory_format=layout)  # type: ignore[call-overload]  # missing in torch's stubs
    learns = [p for p in (*model.parameters(), *loss.parameters()) if p.requires_grad]
    inner = make_optimizer(
        config.optim, learns, fused=config.train.fused is True, most=config.train.clip_norm
    )
    optimizer = wrap_optimizer(inner, config, model, loss, counts)
    module, stepper = fabric.setup(laid_out, optimizer)
    for method in ("outputs", "mixed"):
        if hasattr(model, method):
            module.mark_forward_method(method)
    before, augment = make_transforms(config.train.augment)
    return Learner(
        fabric=fabric,
        model=module,
        loss=loss,
        optimizer=stepper,
        schedule=make_schedule(config.schedule, config.train.epochs),
        prepare=prepare,
        augment=augment,
        channels_last=bool(config.train.channels_last),
        augment_bytes=before,
        mix=make_mixer(config.mixing, counts, config.train.epochs),
        views=make_views(config.auxiliary),
        objective=choose_objective(config),
        compiled=make_compiled(config, model),
        epochs=config.train.epochs,
    )
