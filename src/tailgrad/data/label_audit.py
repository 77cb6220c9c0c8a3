"""What an audit says of labels, where images have several."""

from dataclasses import dataclass

import numpy as np

from tailgrad.data.source import Source

ALIKE = 0.8
"""Share of the images with either of two labels that have both, above which the two are named."""

_NAMED = 10


@dataclass(frozen=True)
class LabelFacts:
    """How labels are spread over images.

    Args:
        cardinality: mean number of labels an image.
        most: of one image.
        without: images without any.
        sets: different sets of labels that occur.
        mean_imbalance: count of the most frequent label over that of each, averaged over the labels that
            occur (MeanIR of the multi-label literature).
        always: labels that every image has: nothing can be learnt of them.
        together: (label, label, images with both, share) of pairs that seldom come alone, closest first; the
            share is of the images with either.

    Source: Charte et al., "Addressing imbalance in multilabel classification", 2015 (MeanIR).

    Example:
        >>> LabelFacts(1.5, 2, 0, 3, 1.0, (), ()).most
        2
    """

    cardinality: float
    most: int
    without: int
    sets: int
    mean_imbalance: float
    always: tuple[str, ...]
    together: tuple[tuple[str, str, int, float], ...]


def label_facts(source: Source) -> LabelFacts | None:
    """How the labels of a source are spread; None where every image has one class.

    Example:
        >>> from tailgrad.data import open_source
        >>> label_facts(open_source("digits-multi-lt")).most
        4
    """
    has = source.indicators
    if has is None:
        return None
    each, counts = has.sum(1, dtype=np.int64), has.sum(0, dtype=np.int64)
    present = counts[counts > 0]
    return LabelFacts(
        cardinality=float(each.mean()),
        most=int(each.max()),
        without=int((each == 0).sum()),
        sets=len(np.unique(has, axis=0)),
        mean_imbalance=float((present.max() / present).mean()) if len(present) else 1.0,
        always=tuple(name for name, n in zip(source.class_names, counts, strict=True) if n == len(has)),
        together=_together(source),
    )


def _together(source: Source) -> tuple[tuple[str, str, int, float], ...]:
    assert source.indicators is not None
    has = source.indicators.astype(np.float32)
    both = has.T @ has
    counts = np.diag(both)
    either = counts[:, None] + counts - both
    share = np.divide(both, either, out=np.zeros_like(both), where=either > 0)
    a, b = np.nonzero(np.triu(share >= ALIKE, 1))
    order = np.argsort(-share[a, b], kind="stable")[:_NAMED]
    names = source.class_names
    return tuple(
        (names[i], names[j], int(both[i, j]), float(share[i, j]))
        for i, j in zip(a[order], b[order], strict=True)
    )
