"""What a method's sampler, loss, combination and posthoc make of the class prior: its ledger."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import nn

from tailgrad.correction_ledger import Ledger, ledger
from tailgrad.recipes.components import NONE
from tailgrad.recipes.config import Config, StageConfig
from tailgrad.recipes.even_classes import even_correction
from tailgrad.recipes.orders import make_order, order_correction
from tailgrad.recipes.stepping import sharp_correction
from tailgrad.types import ClassInfo, Correction

Named = tuple[str, Correction | None]
Losses = Mapping[int, nn.Module]


def method_ledger(
    config: Config, classes: ClassInfo, target: Sequence[int], losses: Losses, posthoc: Iterable[nn.Module]
) -> Ledger:
    """The ledger of the training that the final classifier comes from: the last stage's, if there are any.

    Args:
        config: names sampler and combination, and whether a double correction is allowed.
        classes: names and training counts.
        target: class of every training example, those that resampling made included.
        losses: those of the stages that train, by their place; that of the first training at -1.
        posthoc: methods in order; those not fitted yet answer what they know.

    Raises:
        InputError: the prior is corrected more than once and that is not allowed; the arithmetic is shown.

    Example:
        >>> from tailgrad.losses import CrossEntropyLoss
        >>> config, classes = Config(source="x"), ClassInfo(("a", "b"), (30, 3))
        >>> method_ledger(config, classes, [0] * 30 + [1] * 3, {-1: CrossEntropyLoss()}, []).over_corrected
        False
    """
    return ledger(
        [pair for pair in _entries(config, classes, target, losses, posthoc) if pair[1] is not None],
        classes.counts,
        class_names=classes.names,
        allow_double_correction=config.allow_double_correction,
    )


def _entries(
    config: Config, classes: ClassInfo, target: Sequence[int], losses: Losses, posthoc: Iterable[nn.Module]
) -> list[Named]:
    found = _of_training(config, classes, target, losses[-1])
    for place, stage in enumerate(config.stages):
        found = _after_stage(found, stage, config, classes, target, losses.get(place))
    named = zip(config.posthoc, posthoc, strict=True)
    return found + [(f"posthoc {one.name}", correction_of(made)) for one, made in named]


def _of_training(config: Config, classes: ClassInfo, target: Sequence[int], loss: nn.Module) -> list[Named]:
    batch = config.train.batch_size
    order = make_order(config.sampler, target, epochs=config.train.epochs, batch_size=batch, seed=config.seed)
    return [
        (
            f"resample {config.resample.name}",
            None if config.resample.name == NONE else resample_correction(classes, target),
        ),
        (f"sampler {config.sampler.name}", order_correction(order)),
        (f"loss {config.loss.name}", correction_of(loss)),
        (f"combine {config.combine.name}", even_correction(config.combine, classes.counts, batch)),
        (f"sharpness {config.sharpness.name}", sharp_correction(config.sharpness, classes.counts)),
    ]


def resample_correction(classes: ClassInfo, target: Sequence[int]) -> Correction | None:
    """The shares of the classes among the rows trained on over those of the data; None where they are equal.

    Args:
        classes: names and training counts of the data.
        target: class of every row trained on.

    Example:
        >>> found = resample_correction(ClassInfo(("a", "b"), (3, 1)), [0, 0, 0, 1, 1, 1])
        >>> [round(math.exp(shift), 2) for shift in found.log_shift]
        [0.67, 2.0]
    """
    counts = [target.count(k) for k in range(classes.num_classes)]
    if tuple(counts) == classes.counts:
        return None
    ratio = sum(classes.counts) / max(1, len(target))
    pairs = zip(counts, classes.counts, strict=True)
    return Correction("sampling", tuple(math.log(ratio * m / n) if m and n else 0.0 for m, n in pairs))


def _after_stage(
    before: list[Named],
    stage: StageConfig,
    config: Config,
    classes: ClassInfo,
    target: Sequence[int],
    loss: nn.Module | None,
) -> list[Named]:
    """A stage that trains the head makes the prior anew; the others change what there is."""
    named = f"stage {stage.name}"
    listed = (named, Correction("listed", (0.0,) * classes.num_classes))
    trained = (f"loss {stage.loss.name if stage.loss else config.loss.name}", correction_of(loss))
    if stage.kind == "tau_norm":
        return [*before, listed]
    if stage.kind == "ncm":
        return [(named, _uniform(classes))]
    if stage.kind == "merge":
        return [trained, listed]
    if stage.features == "smote":
        return [(named, _uniform(classes)), trained]
    batch, seed = config.train.batch_size, config.seed
    order = make_order(stage.sampler, target, epochs=stage.epochs, batch_size=batch, seed=seed)
    return [(f"sampler {stage.sampler.name}", order_correction(order)), trained]


def _uniform(classes: ClassInfo) -> Correction:
    """Every class as often, as a sampler that draws them so."""
    return Correction("sampling", tuple(-math.log(n) if n else 0.0 for n in classes.counts))


def correction_of(component: Any) -> Correction | None:
    """A component's own answer; None for one that gives none, such as a loss of the user's own.

    Example:
        >>> correction_of(nn.CrossEntropyLoss()) is None
        True
    """
    answer = getattr(component, "correction", None)
    found: Correction | None = answer() if callable(answer) else None
    return found
