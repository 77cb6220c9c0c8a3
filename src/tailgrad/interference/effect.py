"""What an update does to every class: alignment, predicted and measured change of its loss."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tailgrad.interference.batches import batches
from tailgrad.interference.contributions import remainder
from tailgrad.interference.criterion import losses
from tailgrad.interference.gradients import ClassGradients
from tailgrad.interference.gram import Array
from tailgrad.interference.packs import Pack, packs
from tailgrad.interference.source import Source
from tailgrad.interference.update import Update, align, applied


@dataclass(frozen=True, slots=True, eq=False)
class Effect:
    """An update against the class gradients, K classes.

    Args:
        label: what made the update.
        alignment: ``<g_c, u> / (|g_c| |u|)`` over the primary group [K].
        predicted_change: ``-<g_c, delta>`` over all parameters that move [K].
        measured_change: change of the mean loss of each class [K], both losses on the same examples of a
            second reading of the data.
        remainder: what momentum, adaptive scaling, weight decay or SAM add to the plain step's
            ``<g_c, u>`` over all parameters [K]; None where the learning rate is not known.

    Source: ours; explained in docs/conflict.md.

    Example:
        >>> Effect("step", np.ones(1), np.array([-0.10]), np.array([-0.08]), None).ratio
        array([0.8])
    """

    label: str
    alignment: Array
    predicted_change: Array
    measured_change: Array
    remainder: Array | None

    @property
    def ratio(self) -> Array:
        """Measured over predicted change [K]; near 1 where the step is small."""
        result: Array = self.measured_change / np.where(
            self.predicted_change != 0, self.predicted_change, np.nan
        )
        return result


def check_update(source: Source, update: Update) -> None:
    """Check that an update fits the network, before the data are read.

    Raises:
        InputError: names that the network lacks, or other shapes.

    Example: see ``measure``.
    """
    with applied(source.network.model, update):
        pass


def effect_of(
    update: Update, gradients: ClassGradients, source: Source, data: object, parts: Array | None
) -> Effect:
    """Set an update beside the class gradients, and measure what it does to the losses.

    Args:
        update: of the measured model.
        gradients: over all parameters.
        source: the network, in evaluation mode.
        data: read once more.
        parts: contributions of the plain step over all parameters [K, K], or None.

    Raises:
        InputError: an update of another model or with other shapes.

    Example: see ``measure``.
    """
    found = align(gradients, update)
    whole = found.whole or found
    change = _loss_changes(source, data, update)
    rest = None
    if update.lr is not None and parts is not None:
        rest = remainder(-whole.predicted_change, parts, update.lr)
    return Effect(update.label, found.alignment, whole.predicted_change, change, rest)


def _loss_changes(source: Source, data: object, update: Update) -> Array:
    """Change of each class's mean loss, before and after on the examples of one more reading of the data."""
    order = source.order
    stream = batches(data, order_seed=None if order.max_per_class is None else order.seed)
    total = torch.zeros(len(source.class_names), dtype=torch.float64)
    counts = torch.zeros(len(source.class_names))
    for pack in packs(stream, max_per_class=order.max_per_class, num_classes=len(total)):
        before = _losses(source, pack)
        with applied(source.network.model, update):
            after = _losses(source, pack)
        target = pack.target()
        total.index_add_(0, target, after - before)
        counts.index_add_(0, target, torch.ones(len(target)))
    return np.asarray((total / torch.where(counts > 0, counts, torch.nan)).numpy())


def _losses(source: Source, pack: Pack) -> Tensor:
    with torch.no_grad():
        logits, _ = source.network.run(pack.inputs)
    with torch.enable_grad():
        loss, _ = losses(source.criterion, logits, pack.target().to(logits.device))
    return loss.cpu().double()
