"""The pass over the data: packs go through the network, gradients by class add up, others look on."""

from collections.abc import Iterator, Sequence

import numpy as np
from torch import Tensor

from tailgrad.checks import InputError
from tailgrad.interference.backward import Backward, Cotangent, Look
from tailgrad.interference.criterion import losses
from tailgrad.interference.gradients import ClassGradients
from tailgrad.interference.logit_gradients import LogitGradients
from tailgrad.interference.observer import Observer, Seen
from tailgrad.interference.packs import Pack, packs
from tailgrad.interference.source import Source
from tailgrad.interference.sums import Sums
from tailgrad.interference.totals import fold_means, logit_gradients, make_sums
from tailgrad.interference.trees import cut


def collect(source: Source, names: Sequence[str], observers: Sequence[Observer] = ()) -> ClassGradients:
    """Read the data once: gradients of ``names`` by class, folds of the primary group, observers told.

    Args:
        source: an opened source.
        names: parameters to measure; the primary group is among them.
        observers: shown every chunk of one class.

    Raises:
        InputError: as ``class_gradients``.

    Example: see ``class_gradients``.
    """
    sums = make_sums(source, names)
    logit = logit_gradients(source)
    backward = Backward(source.network, names, sums.receive)
    order = source.order
    for pack in packs(
        source.stream,
        folds=max(1, order.folds),
        max_per_class=order.max_per_class,
        num_classes=len(source.class_names),
    ):
        check_labels(pack, source.class_names)
        sums.begin(pack)
        backward.run(pack, *listeners(source, pack, logit, observers))
    logit.counts = sums.fold_counts.view(len(source.class_names), -1).sum(1)
    return _means(source, sums, logit, backward)


def check_labels(pack: Pack, class_names: Sequence[str]) -> None:
    """Check that every class of a pack has a logit.

    Raises:
        InputError: one has not.

    Example:
        >>> import torch
        >>> check_labels(Pack(torch.zeros(1, 2), [0, 1], [1], [0]), ["a", "b"])
    """
    for label in pack.labels:
        if not 0 <= label < len(class_names):
            raise InputError(
                f"target must be in [0, {len(class_names)}), the model's logits, got {label}; "
                "number the classes from 0 or widen the model's last layer"
            )


def listeners(
    source: Source, pack: Pack, logit: LogitGradients, observers: Sequence[Observer]
) -> tuple[Cotangent, Look | None]:
    """What a backward pass asks for a pack's logit gradients, and what it tells after a forward pass.

    Example: see ``collect``.
    """
    target = pack.target()

    def cotangent(logits: Tensor, low: int, high: int) -> Tensor:
        _check_width(logits, source.class_names)
        mine = target[low:high]
        loss, gradient = losses(source.criterion, logits, mine.to(logits.device))
        _check_finite(loss, gradient, mine, source.class_names)
        logit.add(gradient, loss, mine)
        return gradient

    def look(logits: Tensor, features: Tensor | None, low: int, high: int) -> None:
        for label, first, last in _runs(pack, low, high):
            part, inputs = slice(first - low, last - low), cut(pack.inputs, first, last)
            mine = None if features is None else features[part]
            for observer in observers:
                observer(Seen(label, inputs, mine, logits[part], part))

    return cotangent, look if observers else None


def _runs(pack: Pack, low: int, high: int) -> Iterator[tuple[int, int, int]]:
    """(class, first, last) of neighbouring segments of one class within examples low to high."""
    start = low
    inside = [s for s in range(len(pack.labels)) if low <= pack.bounds[s] < high]
    for s, after in zip(inside, [*inside[1:], None], strict=True):
        if after is None or pack.labels[after] != pack.labels[s]:
            yield pack.labels[s], start, pack.bounds[s + 1]
            start = pack.bounds[s + 1]


def _check_width(logits: Tensor, class_names: Sequence[str]) -> None:
    if logits.shape[1] != len(class_names):
        raise InputError(
            f"model must return {len(class_names)} logits, got {logits.shape[1]}; keep the width fixed"
        )


def _check_finite(loss: Tensor, gradient: Tensor, target: Tensor, class_names: Sequence[str]) -> None:
    good = loss.isfinite() & gradient.isfinite().all(1)
    if not good.all():
        first = int((~good).nonzero()[0])
        raise InputError(
            f"loss must be finite, got {loss[first].item()} for class {class_names[int(target[first])]!r}; "
            "check the weights and the inputs"
        )


def _means(source: Source, sums: Sums, logit: LogitGradients, backward: Backward) -> ClassGradients:
    _divide(source, sums, logit.counts)
    unreached = _unreached(sums, source.groups.members())
    return ClassGradients(
        source.class_names,
        logit.counts.numpy(),
        logit.loss(),
        source.groups,
        sums.rows,
        sums.pieces,
        sums.sketchers,
        fold_means(sums, len(source.class_names)) if source.order.folds else None,
        logit.means(),
        logit.pull,
        unreached,
        (*source.network.notes, *_said(sums, unreached, backward)),
    )


def _divide(source: Source, sums: Sums, counts: Tensor) -> None:
    """Make means of the sums, in place."""
    for name, rows in (*sums.rows.items(), *sums.pieces.items()):
        rows /= counts.clamp(min=1).to(rows)[:, None]
        broken = ~rows.isfinite().all(1)
        if broken.any():
            raise InputError(
                f"gradients must be finite, got NaN or infinity in {name!r} for class "
                f"{source.class_names[int(broken.nonzero()[0])]!r}; check the weights and the inputs"
            )


def _unreached(sums: Sums, primary: Sequence[str]) -> tuple[str, ...]:
    unreached = tuple(name for name in sums.measured if name not in sums.reached)
    if set(primary) <= set(unreached):
        raise InputError(
            f"parameters must be reached by the loss, got {', '.join(primary[:3])} which no loss reaches; "
            "choose others"
        )
    return unreached


def _said(sums: Sums, unreached: tuple[str, ...], backward: Backward) -> Iterator[str]:
    size = max((s.size for s in sums.sketchers.values() if not s.is_exact), default=0)
    if size:
        yield (
            f"Gradients were sketched to {size} numbers; cosines are off by about {1 / np.sqrt(size):.3f}."
        )
    if unreached:
        more = f" and {len(unreached) - 3} more" if len(unreached) > 3 else ""
        yield f"No loss reaches {', '.join(unreached[:3])}{more}."
    if backward.is_coupled:
        yield (
            "The network treats examples together, or at random: these are gradients of one-class batches, "
            "which do not add up to the gradient of the mean loss."
        )
    if backward.reason:
        yield f"Classes went through the network one by one, which is slower: {backward.reason}."
