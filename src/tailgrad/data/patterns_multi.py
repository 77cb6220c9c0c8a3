"""Generated images of small shapes that share strokes: eight labels an image, long-tailed."""

import numpy as np
from numpy.typing import NDArray

from tailgrad.data.label_tail import allot, tail_counts
from tailgrad.data.pictures import Pictures
from tailgrad.data.source import Source

SHAPES = {
    "across": ["     ", "     ", "#####", "     ", "     "],
    "down": ["  #  ", "  #  ", "  #  ", "  #  ", "  #  "],
    "plus": ["  #  ", "  #  ", "#####", "  #  ", "  #  "],
    "square": ["#####", "#   #", "#   #", "#   #", "#####"],
    "slash": ["    #", "   # ", "  #  ", " #   ", "#    "],
    "cross": ["#   #", " # # ", "  #  ", " # # ", "#   #"],
    "corner": ["#    ", "#    ", "#    ", "#    ", "#####"],
    "tee": ["#####", "  #  ", "  #  ", "  #  ", "  #  "],
}
"""Rows of 5 x 5 pixels, by label."""
PLACES = 4
"""Shapes that an image holds at most, one in each quarter."""
_PARTS = {"train": (400, 220, 20.0), "val": (200, 110, 10.0), "test": (300, 75, 1.0)}
_QUARTER, _SIDE = 8, 5


def open_patterns_multi() -> Source:
    """Open ``patterns-multi-lt``: up to four shapes of 5 x 5 pixels in noise, on 16 x 16 grey pixels.

    A label is a shape that is there. Shapes share strokes (a plus is a bar across and a bar down), so that
    labels compete for the same features. Positives of the labels fall from 220 to 11 in the 400 training
    images, from 110 to 11 in the 200 validation images; the 300 test images hold 75 of each.

    Source: ours.

    Example:
        >>> source = open_patterns_multi()
        >>> source.class_names[:2], source.indicators.sum(0)[:2].tolist()
        (('across', 'down'), [405, 297])
    """
    rng = np.random.default_rng(1)
    shapes = np.array([[[c == "#" for c in row] for row in rows] for rows in SHAPES.values()], float)
    images, indicators, given = [], [], []
    for part, (n, most, factor) in _PARTS.items():
        found = allot(tail_counts(most, factor, len(shapes)), n, PLACES, rng)
        images += [_drawn(shapes, np.flatnonzero(row), rng) for row in found]
        indicators.append(found)
        given += [part] * n
    return Source(
        name="patterns-multi-lt",
        items=Pictures(np.stack(images)),
        labels=np.zeros(len(given), np.int64),
        class_names=tuple(SHAPES),
        given=tuple(given),
        regime="digits-multi",
        indicators=np.concatenate(indicators),
    )


def _drawn(
    shapes: NDArray[np.float64], labels: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.uint8]:
    """One image: its shapes in quarters drawn at random, each anywhere within its quarter, under noise."""
    canvas = np.abs(rng.normal(0, 0.2, (2 * _QUARTER, 2 * _QUARTER)))
    for quarter, k in zip(rng.permutation(PLACES), labels, strict=False):
        top, left = rng.integers(0, _QUARTER - _SIDE + 1, 2) + _QUARTER * np.array(divmod(quarter, 2))
        canvas[top : top + _SIDE, left : left + _SIDE] += shapes[k] * rng.uniform(0.4, 0.9)
    return np.round(np.clip(canvas, 0, 1) * 255).astype(np.uint8)
