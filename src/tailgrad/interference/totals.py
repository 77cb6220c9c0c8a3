"""Where a pass adds up: gradients by class, exact or sketched, their folds, and logit gradients."""

from collections.abc import Sequence

from tailgrad.interference.gradients import Folds
from tailgrad.interference.groups import Groups
from tailgrad.interference.logit_gradients import LogitGradients
from tailgrad.interference.narrow_head import residual_projection
from tailgrad.interference.room import MAX_MATRIX, choose_sketch
from tailgrad.interference.sketch import Sketcher
from tailgrad.interference.source import Source
from tailgrad.interference.sums import Sums

_FOLD_SKETCH = 1024
_PIECES_BYTES = 2**29  # layers are sketched one by one up to this much, else groups


def logit_gradients(source: Source) -> LogitGradients:
    """Sums of logit gradients by class, projected above 2,000 classes.

    Example: see ``collect``.
    """
    number = len(source.class_names)
    many = number > MAX_MATRIX
    return LogitGradients(
        number, residual_projection(source.head, number, source.order.seed) if many else None
    )


def make_sums(
    source: Source, names: Sequence[str], rows: int | None = None, folds: int | None = None
) -> Sums:
    """Totals for as many rows as there are classes, or as asked; sketched where memory asks for it.

    Example: see ``collect``.
    """
    parameters = {name: source.network.parameters[name] for name in names}
    rows, folds = rows or len(source.class_names), source.order.folds if folds is None else folds
    numels = {name: p.numel() for name, p in parameters.items()}
    size = choose_sketch(source.order.sketch, rows, sum(numels.values()), source.network.device)
    sketchers = {}
    if size:
        for i, (piece, members) in enumerate(_pieces(source.groups, names, 4 * rows * size).items()):
            sketchers[piece] = Sketcher({n: numels[n] for n in members}, size, source.order.seed + 1 + i)
    primary = {name: numels[name] for name in source.groups.members() if name in numels}
    fold_sketcher = Sketcher(primary, _FOLD_SKETCH, source.order.seed) if folds else None
    return Sums(parameters, rows, sketchers, max(1, folds), fold_sketcher)


def _pieces(groups: Groups, names: Sequence[str], each: int) -> dict[str, list[str]]:
    """Parameters that may share a sketch: those of the same groups, and of one layer if there is room."""
    by_layer = each * len(groups.layers) <= _PIECES_BYTES
    layer_of = {name: layer for layer, members in groups.layers.items() for name in members}
    pieces: dict[str, list[str]] = {}
    for name in names:
        key = "+".join(group for group, members in groups.groups.items() if name in members)
        pieces.setdefault(f"{layer_of[name]}:{key}" if by_layer else key, []).append(name)
    return pieces


def fold_means(sums: Sums, rows: int) -> Folds:
    """Mean gradients of the folds of each row.

    Example: see ``collect``.
    """
    assert sums.folds is not None
    assert sums.fold_sketcher is not None
    counts = sums.fold_counts.view(rows, -1)
    weights = counts.double() / counts.sum(1, keepdim=True).clamp(min=1)
    means = (sums.folds / sums.fold_counts.clamp(min=1).to(sums.folds)[:, None]).view(*counts.shape, -1)
    return Folds(weights.numpy(), means.cpu(), sums.fold_sketcher.is_exact)
