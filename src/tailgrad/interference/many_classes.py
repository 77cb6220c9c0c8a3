"""A measurement of more than 2,000 classes, with one vector a class."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch

from tailgrad.interference.collect import collect
from tailgrad.interference.compared import check_classes
from tailgrad.interference.gradients import ClassGradients
from tailgrad.interference.gram import Array
from tailgrad.interference.null import Null, Reservoir, measure_null
from tailgrad.interference.progress import Tell, counting, silent
from tailgrad.interference.room import MAX_MATRIX
from tailgrad.interference.source import Source
from tailgrad.interference.tiles import TiledInterference, tiles_of, unit_rows


def measure_many(
    source: Source, null_examples: int | None, left_out: Sequence[str] = (), tell: Tell = silent
) -> TiledInterference:
    """Measure the primary group of an opened source.

    Args:
        source: the network, in evaluation mode, with its groups.
        null_examples: pooled examples for the null, or None.
        left_out: what was asked for beside this and is not measured, for the notes.
        tell: told how far it is.

    Raises:
        InputError: as ``measure``.

    Example: see ``measure``.
    """
    names, pool = source.groups.members(), Reservoir(1, source.order.seed)
    gradients = collect(source, names, [pool, counting(tell)])
    check_classes(gradients)
    norms, reliability = gradients.norms(), _reliability(gradients)
    units = unit_rows(torch.cat([part.cpu() for part in gradients.parts()], 1).numpy())
    gradients.rows.clear()  # [K, s] would otherwise stand beside the null's
    gradients.sketches.clear()
    null = measure_null(source, names, pool, gradients.logits, null_examples, tell)
    null_units = unit_rows(null.vectors(names))
    tiles = tiles_of(
        source.class_names, gradients.counts, source.groups.primary, norms, gradients.loss, units, null_units
    )
    notes = (*gradients.notes, *_notes(null, source, left_out))
    return TiledInterference(replace(tiles, reliability=reliability, notes=notes))


def _reliability(gradients: ClassGradients) -> Array | None:
    """``U_c / |g_c|^2`` from the folds alone [K]; NaN below two folds."""
    if gradients.folds is None:
        return None
    weights = gradients.folds.weights
    rows = gradients.folds.sketches
    means = torch.einsum("kf,kfs->ks", torch.from_numpy(weights).to(rows), rows)
    norms = means.double().square().sum(1).cpu().numpy()
    own = (weights**2).sum(1)
    noise = (weights**2 * gradients.folds.squares).sum(1)
    usable = (norms > 0) & (own < 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(usable, (norms - noise) / ((1 - own) * norms), np.nan)


def _notes(null: Null, source: Source, left_out: Sequence[str]) -> Iterator[str]:
    if null.is_cheap:
        yield "The null is its cheap form, cosines of mean logit gradients: measuring it would cost too much."
    yield f"{len(source.class_names)} classes: matrices are served in blocks, not kept."
    missing = [*(["intervals of the conflict (folds)"] if source.order.folds else []), *left_out]
    if missing:
        yield f"Asked for, but not measured above {MAX_MATRIX} classes: {', '.join(missing)}."
