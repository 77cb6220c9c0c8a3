"""Wire model, loss, optimiser and schedule from a configuration."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from lightning.fabric import Fabric
from lightning.fabric.plugins import MixedPrecision
from torch import nn

from tailgrad.augment import Normalize
from tailgrad.checks import InputError
from tailgrad.engine import Learner, Schedule, Trial, choose_speed
from tailgrad.models import Classifier, create_model
from tailgrad.recipes.combine import add_to_loss
from tailgrad.recipes.components import OWN, build
from tailgrad.recipes.config import Config, OptimConfig, ScheduleConfig
from tailgrad.recipes.hub import patient_only_if_reachable
from tailgrad.recipes.stepping import (
    add_auxiliary,
    choose_objective,
    needs_each_loss,
    wrap_optimizer,
)
from tailgrad.recipes.transforms import make_mixer, make_transforms, make_views
from tailgrad.types import ClassInfo

Say = Callable[[str], None]
MakeLoss = Callable[[list[int]], nn.Module]


def _silent(_: str) -> None:
    """Say nothing."""


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


def make_model(config: Config, num_classes: int, say: Say = _silent) -> Classifier:
    """The classifier, initialised from the configuration's seed.

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
            architecture=config.architecture.name,
            architecture_options=dict(config.architecture.options),
        )


def settle_pretrained(config: Config, num_classes: int, say: Say = _silent) -> bool:
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
        say(f"training from scratch: pretrained weights of {config.model.name} could not be had here")
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
    config: Config, classes: ClassInfo, own: MakeLoss | None = None, model: Classifier | None = None
) -> nn.Module:
    """The loss, told the training counts, as the step wants it (see ``recipes.combine``).

    Args:
        config: names one of tailgrad's losses and its options, and what combines class gradients.
        classes: names and training counts.
        own: makes a loss of the user's own from the counts; the configuration then only records its name.
        model: gives the loss what it shares with the head, such as an ETF's class vectors, and a second loss
            its width.

    Raises:
        InputError: the loss or an option is unknown, or an option is out of range; a loss of the user's own
            is named in the configuration and not given.

    Example:
        >>> from tailgrad.recipes.compose import compose
        >>> make_loss(compose("x", "digits", "focal"), ClassInfo(("a", "b"), (3, 1))).takes
        'logits'
    """
    loss = _named_loss(config, classes, model) if own is None else own(list(classes.counts))
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


def _named_loss(config: Config, classes: ClassInfo, model: Classifier | None) -> nn.Module:
    if config.loss.name.startswith(OWN):
        raise InputError(f"loss.name={config.loss.name} is a class of your own; give it again in Python")
    each = {"reduction": "none"} if needs_each_loss(config) else {}
    filled: dict[str, Any] = {"epochs": config.train.epochs}
    vectors = getattr(getattr(model, "head", None), "vectors", None)
    if vectors is not None:
        filled["vectors"] = vectors
    loss: nn.Module = build(
        "losses", config.loss.name, config.loss.options | each, list(classes.counts), filled=filled
    )
    return loss


def make_optimizer(config: OptimConfig, parameters: Sequence[nn.Parameter]) -> torch.optim.Optimizer:
    """Adam, AdamW or SGD.

    Example:
        >>> make_optimizer(OptimConfig(), [nn.Parameter(torch.zeros(1))]).defaults["lr"]
        0.001
    """
    if config.name == "sgd":
        return torch.optim.SGD(
            parameters,
            lr=config.lr,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
            nesterov=config.nesterov,
        )
    made = torch.optim.Adam if config.name == "adam" else torch.optim.AdamW
    return made(parameters, lr=config.lr, betas=config.betas, weight_decay=config.weight_decay)


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


def settle_speed(
    config: Config, model: nn.Module, size: tuple[int, int], images_there: int | None = None
) -> Trial:
    """Time the training step on random images and settle what is ``auto`` (precision, memory layout).

    Args:
        config: batch size, and what to try.
        model: it is copied for the trial.
        size: (height, width) of the images.
        images_there: number of training images, where a batch may hold them all.

    Raises:
        InputError: the network cannot train on such batches (one image whose last map is 1 x 1).

    Example:
        >>> from tailgrad.recipes.compose import compose
        >>> config = compose("digits-lt", "digits", "baseline",
        ...     {"train": {"precision": "float32", "channels_last": False, "batch_size": 4}})
        >>> settle_speed(config, make_model(config, 10), (32, 32)).precision
        'float32'
    """
    device = device_of(config.train.device)
    with torch.random.fork_rng(devices=[]):
        batch = min(config.train.batch_size, images_there or config.train.batch_size)
        images = torch.rand(batch, 3, *size, device=device)
    precision, layout = config.train.precision, config.train.channels_last
    try:
        return choose_speed(
            model.to(device),
            images,
            precisions=("float32", "bfloat16") if precision == "auto" else (precision,),
            layouts=(False, True) if layout == "auto" else (bool(layout),),
        )
    except ValueError as error:
        raise InputError(
            f"train.batch_size must suit the network, got {batch} at {size[0]} x {size[1]}: {error}; use "
            "larger batches or images"
        ) from error


def assemble(
    config: Config,
    model: Classifier,
    loss: nn.Module,
    speed: Trial,
    prepare: Normalize,
    counts: Sequence[int],
) -> Learner:
    """Model, loss and optimiser under Lightning Fabric.

    Example: see ``recipes.train``.
    """
    device = device_of(config.train.device)
    if device.type == "cuda":  # so that a resumed run ends with the same weights on a GPU too
        torch.backends.cudnn.deterministic = True
    mixed = speed.precision == "bfloat16"
    plugins: Any = [MixedPrecision("bf16-mixed", device.type)] if mixed else None
    fabric = Fabric(accelerator=device.type, devices=1, plugins=plugins)
    loss = loss.to(device)
    layout = torch.channels_last if speed.channels_last else torch.contiguous_format
    laid_out = model.to(memory_format=layout)  # type: ignore[call-overload]  # missing in torch's stubs
    learns = [p for p in (*model.parameters(), *loss.parameters()) if p.requires_grad]
    optimizer = wrap_optimizer(make_optimizer(config.optim, learns), config, model, loss, counts)
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
        channels_last=speed.channels_last,
        augment_bytes=before,
        mix=make_mixer(config.mixing, counts, config.train.epochs),
        views=make_views(config.auxiliary),
        objective=choose_objective(config),
        epochs=config.train.epochs,
    )
