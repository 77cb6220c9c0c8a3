"""What a method's sampler, loss, combination and posthoc make of the class prior: its ledger."""

from collections.abc import Iterable, Sequence
from typing import Any

from torch import nn

from tailgrad.correction_ledger import Ledger, ledger
from tailgrad.recipes.config import Config
from tailgrad.recipes.even_classes import even_correction
from tailgrad.recipes.orders import make_order, order_correction
from tailgrad.types import ClassInfo, Correction

Named = tuple[str, Correction | None]


def method_ledger(
    config: Config, classes: ClassInfo, target: Sequence[int], loss: nn.Module, posthoc: Iterable[nn.Module]
) -> Ledger:
    """The ledger of the training that the final classifier comes from: the last stage's, if there are any.

    Args:
        config: names sampler and combination, and whether a double correction is allowed.
        classes: names and training counts.
        target: class of every training example.
        loss: the loss of that training.
        posthoc: methods in order; those not fitted yet answer what they know.

    Raises:
        InputError: the prior is corrected more than once and that is not allowed; the arithmetic is shown.

    Example:
        >>> from tailgrad.losses import CrossEntropyLoss
        >>> config, classes = Config(source="x"), ClassInfo(("a", "b"), (30, 3))
        >>> method_ledger(config, classes, [0] * 30 + [1] * 3, CrossEntropyLoss(), []).over_corrected
        False
    """
    return ledger(
        [pair for pair in _entries(config, classes, target, loss, posthoc) if pair[1] is not None],
        classes.counts,
        class_names=classes.names,
        allow_double_correction=config.allow_double_correction,
    )


def _entries(
    config: Config, classes: ClassInfo, target: Sequence[int], loss: nn.Module, posthoc: Iterable[nn.Module]
) -> list[Named]:
    training = [stage for stage in config.stages if stage.kind == "train"]
    last = training[-1] if training else None
    sampler = last.sampler if last else config.sampler
    batch = config.train.batch_size
    epochs = last.epochs if last else config.train.epochs
    order = make_order(sampler, target, epochs=epochs, batch_size=batch, seed=config.seed)
    found: list[Named] = [(f"sampler {sampler.name}", order_correction(order))]
    name = last.loss.name if last and last.loss else config.loss.name
    found.append((f"loss {name}", correction_of(loss)))
    if last is None:
        even = even_correction(config.combine, classes.counts, batch)
        found.append((f"combine {config.combine.name}", even))
    named = zip(config.posthoc, posthoc, strict=True)
    return found + [(f"posthoc {one.name}", correction_of(made)) for one, made in named]


def correction_of(component: Any) -> Correction | None:
    """A component's own answer; None for one that gives none, such as a loss of the user's own.

    Example:
        >>> correction_of(nn.CrossEntropyLoss()) is None
        True
    """
    answer = getattr(component, "correction", None)
    found: Correction | None = answer() if callable(answer) else None
    return found
