"""Class gradients compared: conflict, its null and its error, by group, block and layer."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from tailgrad.checks import InputError
from tailgrad.interference.descent import descent
from tailgrad.interference.gradients import ClassGradients
from tailgrad.interference.gram import Array, cosines
from tailgrad.interference.gram import norms as gradient_norms
from tailgrad.interference.intervals import Unbiased, unbiased
from tailgrad.interference.null import Null
from tailgrad.interference.products import Products, conflicts
from tailgrad.interference.result import Interference

Counts = npt.NDArray[np.int64]


def compared(gradients: ClassGradients, products: Products, null: Null, counts: Counts) -> Interference:
    """The cosines and what they must be read against; everything else is still missing.

    Args:
        gradients: class gradients.
        products: their inner products.
        null: measured null.
        counts: training examples of each class [K].

    Example: see ``measure``.
    """
    groups, blocks, layers = products.families()
    primary = gradients.groups.primary
    own = products.gram(primary)
    conflict, norms = cosines(own), gradient_norms(own, gradients.counts)
    error = noise_free(own, gradients)
    group_null = _nulls(null, groups)
    return Interference(
        class_names=gradients.class_names,
        counts=gradients.counts,
        primary=primary,
        conflict=conflict,
        null=group_null[primary],
        norms=norms,
        loss=gradients.loss,
        groups=conflicts(products, groups),
        group_null=group_null,
        layers=conflicts(products, layers),
        layer_null=_nulls(null, layers),
        layer_norms={},
        blocks=conflicts(products, blocks),
        block_null=_nulls(null, blocks),
        disattenuated=None if error is None else error.conflict,
        interval=None if error is None else error.interval,
        reliability=None if error is None else error.reliability,
        descent=descent(conflict, norms, counts),
        logit_pull=gradients.pull,
        train_counts=counts,
    )


def noise_free(gram: Array, gradients: ClassGradients) -> Unbiased | None:
    """Conflict without sampling noise, with its interval; None without folds.

    Example: see ``measure``.
    """
    folds = gradients.folds
    if folds is None:
        return None
    return unbiased(
        gram,
        folds.weights,
        folds.squares,
        folds.sketches.numpy(),
        sketch=None if folds.is_exact else folds.sketches.shape[2],
        gram_sketch=gradients.sketch,
    )


def check_classes(gradients: ClassGradients) -> None:
    """Check that there are two classes to compare.

    Raises:
        InputError: fewer than two have examples.

    Example: see ``measure``.
    """
    seen = [name for name, n in zip(gradients.class_names, gradients.counts, strict=True) if n]
    if len(seen) < 2:
        raise InputError(
            f"data must hold examples of at least two classes, got only {', '.join(map(repr, seen))}; "
            "one class cannot conflict with itself"
        )


def _nulls(null: Null, family: Mapping[str, list[str]]) -> dict[str, Array]:
    return {name: cosines(null.gram(members)) for name, members in family.items()}
