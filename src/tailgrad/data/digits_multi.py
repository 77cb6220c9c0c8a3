"""Handwritten digits side by side: ten labels an image, long-tailed."""

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from tailgrad.data.label_tail import allot, tail_counts
from tailgrad.data.pictures import Pictures
from tailgrad.data.source import Source

PLACES = 4
"""Digits that an image holds at most."""
_PARTS = {"train": (400, 220, 20.0, 0.6), "val": (200, 110, 10.0, 0.15), "test": (300, 60, 1.0, 0.25)}
"""Images, positives of the first label, first over last label, share of the digits."""
_SIDE = 8


def open_digits_multi() -> Source:
    """Open ``digits-multi-lt``: up to four of scikit-learn's digits side by side on 16 x 16 pixels.

    A label is a digit that is there, once. In the 400 training images label 0 has 220 positives and label 9
    has 11, an imbalance factor of 20; in the 200 validation images 10 to 1; the 300 test images hold 60 of
    each. Training, validation and test images are made from different digits. Some images hold none: noise
    alone, without a label.

    Source:
        Digits: Alpaydin and Kaynak 1998 (UCI), the copy in scikit-learn. All else is ours.

    Example:
        >>> source = open_digits_multi()
        >>> source.indicators.shape, source.given.count("train")
        ((900, 10), 400)
    """
    bunch, rng = load_digits(), np.random.default_rng(0)
    pools = _pools(bunch.target, rng)
    images, indicators, given = [], [], []
    for part, (n, most, factor, _) in _PARTS.items():
        found = allot(tail_counts(most, factor, 10), n, PLACES, rng)
        images += [_drawn(bunch.images, pools[part], np.flatnonzero(row), rng) for row in found]
        indicators.append(found)
        given += [part] * n
    return Source(
        name="digits-multi-lt",
        items=Pictures(np.stack(images)),
        labels=np.zeros(len(given), np.int64),
        class_names=tuple(str(k) for k in range(10)),
        given=tuple(given),
        regime="digits-multi",
        indicators=np.concatenate(indicators),
    )


def _pools(target: NDArray[np.int64], rng: np.random.Generator) -> dict[str, list[NDArray[np.int64]]]:
    """Which digits each part is made of, by class."""
    pools: dict[str, list[NDArray[np.int64]]] = {part: [] for part in _PARTS}
    for k in range(10):
        members = rng.permutation(np.flatnonzero(target == k))
        ends = np.cumsum([round(share * len(members)) for *_, share in _PARTS.values()])[:-1]
        for part, chosen in zip(_PARTS, np.split(members, ends), strict=True):
            pools[part].append(chosen)
    return pools


def _drawn(
    digits: NDArray[np.float64],
    pool: list[NDArray[np.int64]],
    labels: NDArray[np.int64],
    rng: np.random.Generator,
) -> NDArray[np.uint8]:
    """One image: its digits in quarters drawn at random, the whole moved by a pixel or none, under noise."""
    canvas = np.zeros((2 * _SIDE, 2 * _SIDE))
    for quarter, k in zip(rng.permutation(PLACES), labels, strict=False):
        top, left = (_SIDE * place for place in divmod(int(quarter), 2))
        canvas[top : top + _SIDE, left : left + _SIDE] = digits[rng.choice(pool[k])]
    canvas = np.roll(canvas, rng.integers(-1, 2, 2), (0, 1)) + np.abs(rng.normal(0, 1.5, canvas.shape))
    return np.round(np.minimum(canvas, 16) * (255 / 16)).astype(np.uint8)
