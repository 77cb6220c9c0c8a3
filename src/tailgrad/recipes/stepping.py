"""Which step and which objective a configuration means, and which parts of a method go together."""

from collections.abc import Iterator, Sequence
from typing import Any, cast

import torch
from torch import nn
from torch.optim import Optimizer

from tailgrad.checks import InputError
from tailgrad.engine import Auxiliary, joint_objective, sharp_step, two_branch_objective
from tailgrad.engine.learner import Objective, plain_objective
from tailgrad.engine.loop import Step
from tailgrad.models import Classifier, Projector
from tailgrad.optim import AsymmetricSAM, ImbSAM
from tailgrad.recipes.combine import combine_in, step_of, wants_each_loss
from tailgrad.recipes.components import NONE, build, components
from tailgrad.recipes.config import AuxiliaryConfig, Config, NamedConfig, SharpnessConfig
from tailgrad.types import Correction


def choose_step(config: Config) -> Step:
    """The step that a method needs.

    Example:
        >>> choose_step(Config(source="x")).__name__
        'supervised_step'
    """
    return sharp_step if is_sharp(config) else step_of(config.combine)


def choose_objective(config: Config) -> Objective:
    """What a step minimises.

    Example:
        >>> choose_objective(Config(source="x")).__name__
        'plain_objective'
    """
    if config.architecture.name == "bbn":
        return two_branch_objective
    return joint_objective if has_auxiliary(config.auxiliary) else plain_objective


def is_sharp(config: Config) -> bool:
    """Whether a sharpness-aware optimiser stands around the regime's.

    Example:
        >>> is_sharp(Config(source="x", sharpness={"name": "sam"}))
        True
    """
    return config.sharpness.name != NONE


def has_auxiliary(auxiliary: AuxiliaryConfig) -> bool:
    """Whether a second loss takes part; with weight 0 none is made, and the run is the supervised one.

    Example:
        >>> has_auxiliary(AuxiliaryConfig(name="nt_xent", weight=0.0))
        False
    """
    return auxiliary.name != NONE and auxiliary.weight > 0


def needs_each_loss(config: Config) -> bool:
    """Whether the step wants one loss an example.

    Example:
        >>> needs_each_loss(Config(source="x", sharpness={"name": "sam"}))
        True
    """
    return is_sharp(config) or wants_each_loss(config.combine)


def check_together(config: Config) -> None:
    """Check that the parts of a method go together, before any work is done.

    Raises:
        InputError: two of them do not; what to leave out is named.

    Example:
        >>> check_together(Config(source="x", sharpness={"name": "sam"}, combine={"name": "pcgrad"}))
        Traceback (most recent call last):
        ...
        tailgrad.checks.InputError: sharpness and combine must not both be set, got 'sam' and 'pcgrad'; ...
    """
    sharp, combined, mixed = config.sharpness.name, config.combine.name, config.mixing.name
    if NONE not in (sharp, combined):
        _refuse("sharpness and combine must not both be set", (sharp, combined), "leave one out")
    if mixed != NONE and (sharp not in (NONE, "sam") or combined != NONE):
        by_class = combined if combined != NONE else sharp
        what = "mixing must be none where gradients are told apart by class"
        _refuse(what, (mixed, by_class), "leave one out")
    if config.architecture.name == "bbn":
        parts = (mixed, sharp, combined, config.auxiliary.name)
        if set(parts) != {NONE}:
            what = "a two-branch network takes no mixing, sharpness, combine or auxiliary"
            _refuse(what, parts, "leave them out")
        _check_partner("architecture.name=bbn", config)
    if mixed == "cmo":
        _check_partner("mixing.name=cmo", config)
    elif config.partner.name != NONE and config.architecture.name != "bbn":
        _refuse("partner.name is for bbn and cmo", (config.partner.name,), "leave it out")
    _check_needs(config)
    _check_monitor(config)
    _check_second_loss(config)


def _check_monitor(config: Config) -> None:
    """A monitor attributes gradients by the class of each image, in one pass of the network."""
    if config.interference.monitor_every:
        what = "interference.monitor_every is for one class an image and one pass a step"
        if config.mixing.name != NONE:
            _refuse(what, (config.mixing.name,), "set interference.monitor_every=0")
        if config.architecture.name == "bbn" or has_auxiliary(config.auxiliary):
            second = config.auxiliary.name if has_auxiliary(config.auxiliary) else "bbn"
            _refuse(what, (second,), "set interference.monitor_every=0")


def _check_second_loss(config: Config) -> None:
    auxiliary = config.auxiliary
    if not has_auxiliary(auxiliary):
        return
    if config.sharpness.name == "cc_sam":
        what = (
            "a second loss passes views, which have no class of their own, through the classifier of cc_sam,"
        )
        _refuse(what, (auxiliary.name,), "leave one out")
    if config.combine.name == "share_balancer":
        what = "a second loss passes other images through the backbone that share_balancer balances by class,"
        _refuse(what, (auxiliary.name,), "leave one out")
    views = {"nt_xent": 2, "bcl": 2}.get(auxiliary.name, 0)
    if auxiliary.views < views:
        what = f"auxiliary.views must be at least {views} for {auxiliary.name}"
        _refuse(what, (str(auxiliary.views),), f"set auxiliary.views={views}")


def _check_partner(what: str, config: Config) -> None:
    if config.partner.name == NONE:
        _refuse(f"{what} needs partner.name", (NONE,), "set partner.name=reversed")


def _check_needs(config: Config) -> None:
    """Losses that work on one kind of head, architecture or target only."""
    loss = config.loss.name
    made = components("losses").get(loss)
    if getattr(made, "takes", "") == "features" and loss != "dot_regression":
        remedy = f"set auxiliary.name={loss} beside loss.name=cross_entropy"
        _refuse("loss.name must train the classifier", (loss,), remedy)
    for place, one in _losses(config):
        needed = _head_of(one)
        if needed not in (None, config.head.name):
            what = f"{place}.name={one.name} needs a head of its own"
            _refuse(what, (config.head.name,), f"set head.name={needed}")
    if _head_of(config.loss) == "cosine":
        _check_scale(config)
    if config.head.name in ("etf", "conflict_branches") and config.architecture.name != "single":
        what = f"head.name={config.head.name} needs architecture.name=single"
        _refuse(what, (config.architecture.name,), "leave it out")
    if needs_each_loss(config) and getattr(made, "set_level", False):
        by = config.sharpness.name if is_sharp(config) else config.combine.name
        _refuse("loss.name must give one loss an example", (loss, by), "leave one out")
    if loss == "ride" and config.architecture.name != "multi_expert":
        remedy = "set architecture.name=multi_expert"
        _refuse("loss.name=ride needs experts", (config.architecture.name,), remedy)


def _losses(config: Config) -> Iterator[tuple[str, NamedConfig]]:
    """The method's loss and those of its stages, with their keys."""
    yield "loss", config.loss
    for place, stage in enumerate(config.stages):
        if stage.loss is not None:
            yield f"stages[{place}].loss", stage.loss


def _head_of(loss: NamedConfig) -> str | None:
    """The one head that a loss works on."""
    name = loss.options.get("base", "cross_entropy") if loss.name == "ride" else loss.name
    return {"ldam": "cosine", "dot_regression": "etf"}.get(name)


def _check_scale(config: Config) -> None:
    """LDAM's margins are in units of the scale that the head multiplies cosines by."""
    of_loss = config.loss.options.get("base_options", config.loss.options).get("scale", 30.0)
    of_head = config.head.options.get("scale", 30.0)
    if of_loss != of_head:
        what = f"loss.options.scale must be {of_head} as head.options.scale is"
        _refuse(what, (str(of_loss),), "give both the same")
    if config.head.options.get("learn_scale"):
        _refuse("head.options.learn_scale must be false with margins", ("true",), "leave it out")


def _refuse(what: str, got: Sequence[str], remedy: str) -> None:
    raise InputError(f"{what}, got {' and '.join(map(repr, got))}; {remedy}")


def add_auxiliary(loss: nn.Module, config: Config, model: Classifier, counts: Sequence[int]) -> nn.Module:
    """The loss, carrying the second loss and its projector where the method has one.

    Args:
        loss: is changed.
        config: names the second loss; seeds the projector.
        model: its pooled width is the projector's input.
        counts: training examples of each class.

    Raises:
        InputError: an option is out of range.

    Example:
        >>> from tailgrad.models import create_model
        >>> config = Config(source="x", auxiliary={"name": "nt_xent"})
        >>> loss = add_auxiliary(nn.CrossEntropyLoss(), config, create_model("resnet32", 2), [3, 1])
        >>> loss.auxiliary.weight
        1.0
    """
    auxiliary = config.auxiliary
    if not has_auxiliary(auxiliary):
        return loss
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        width, projector = model.backbone.pooled, None
        if auxiliary.projector is not None:
            hidden, out = auxiliary.projector
            width, projector = out, Projector(width, hidden=hidden, out=out)
        second = build(
            "auxiliary",
            auxiliary.name,
            auxiliary.options,
            list(counts),
            filled={"dim": width, "epochs": config.train.epochs},
        )
    on_views = auxiliary.views > 0
    loss.add_module("auxiliary", Auxiliary(second, auxiliary.weight, projector, on_views=on_views))
    return loss


def wrap_optimizer(
    optimizer: Optimizer, config: Config, model: Classifier, loss: nn.Module, counts: Sequence[int]
) -> Optimizer:
    """The optimiser inside one that is sharpness-aware or combines class gradients, where the method says so.

    Args:
        optimizer: of the regime, on the parameters of model and loss.
        config: names what stands around it.
        model: the network.
        loss: its projector, where it has one, is perturbed with the network.
        counts: training examples of each class.

    Raises:
        InputError: an option is unknown or out of range.

    Example:
        >>> from tailgrad.models import create_model
        >>> model = create_model("resnet32", 4)
        >>> config = Config(source="x", sharpness={"name": "sam"})
        >>> plain, loss = torch.optim.SGD(model.parameters()), nn.CrossEntropyLoss()
        >>> type(wrap_optimizer(plain, config, model, loss, [4, 3, 2, 1])).__name__
        'SAM'
    """
    if not is_sharp(config):
        return combine_in(optimizer, config.combine, model, len(counts))
    whole = nn.ModuleList([model, loss]) if has_auxiliary(config.auxiliary) else model
    return _sharp(optimizer, config.sharpness, whole, counts)


def _sharp(
    optimizer: Optimizer, sharpness: SharpnessConfig, model: nn.Module, counts: Sequence[int]
) -> Optimizer:
    options = dict(sharpness.options)
    if sharpness.name == "imbsam":
        options.setdefault("eta", tail_bound(counts))
    made: Any = AsymmetricSAM(
        model,
        optimizer,
        list(counts),
        rho=sharpness.rho,
        variant=sharpness.name,
        options=options,
    )
    return cast("Optimizer", made)


def sharp_correction(sharpness: SharpnessConfig, counts: Sequence[int]) -> Correction | None:
    """How a sharpness-aware optimiser shifts the class prior: ImbSAM doubles the loss of rare classes.

    Example:
        >>> sharp_correction(SharpnessConfig(name="imbsam"), [100, 5]).log_shift
        (0.0, 0.6931471805599453)
        >>> sharp_correction(SharpnessConfig(name="sam"), [100, 5]) is None
        True
    """
    if sharpness.name != "imbsam":
        return None
    eta = sharpness.options.get("eta", tail_bound(counts))
    return ImbSAM(list(counts), eta=eta).correction()


def tail_bound(counts: Sequence[int], usual: int = 20) -> int:
    """The count below which a class is rare: 20, or where no class is, one that takes in the rarest third.

    Source: 20 as in ImbSAM's code for CIFAR-100; the rarest third is ours.

    Example:
        >>> tail_bound([500, 15, 10]), tail_bound([5000, 900, 100, 80, 60, 50])
        (20, 61)
    """
    if min(counts) < usual:
        return usual
    return sorted(counts)[max(0, len(counts) // 3 - 1)] + 1
