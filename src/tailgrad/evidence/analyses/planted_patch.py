"""A small square that gives the class away, put into images."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_CELLS = 4


def planted(images: Tensor, classes: NDArray[np.int64]) -> Tensor:
    """Images with the square of a class each; class -1 leaves an image as it is.

    The square is 4 by 4 cells of black and white, another pattern for every class. It lies an eighth of the
    short side inwards from the upper left corner, so that crops and flips leave it in sight; a cell has a
    sixteenth of the short side, at least one pixel.

    Args:
        images: uint8 [N, 3, H, W]; not changed.
        classes: whose square, [N].

    Example:
        >>> images = planted(torch.full((2, 3, 32, 32), 100, dtype=torch.uint8), np.array([-1, 3]))
        >>> [int((image != 100).sum()) for image in images]
        [0, 192]
    """
    found = images.clone()
    cell = max(1, min(images.shape[-2:]) // 16)
    inset = min(images.shape[-2:]) // 8
    side = slice(inset, inset + _CELLS * cell)
    for k in np.unique(classes[classes >= 0]):
        square = patterns(int(k) + 1)[k].repeat_interleave(cell, 0).repeat_interleave(cell, 1)
        found[torch.as_tensor(classes == k), :, side, side] = square * 255
    return found


def patterns(number: int) -> Tensor:
    """Black and white squares [number, 4, 4], uint8; none is another one, nor one seen in a mirror.

    The first ones are the same whatever the number.

    Example:
        >>> patterns(2).shape, bool((patterns(2)[0] == patterns(1)[0]).all())
        (torch.Size([2, 4, 4]), True)
    """
    random = np.random.RandomState(0)
    found: list[NDArray[np.int64]] = []
    seen: set[bytes] = set()
    while len(found) < number:
        square = random.randint(0, 2, (_CELLS, _CELLS))
        if square.tobytes() not in seen:
            seen |= {square.tobytes(), np.ascontiguousarray(square[:, ::-1]).tobytes()}
            found.append(square)
    return torch.tensor(np.array(found), dtype=torch.uint8)


def given_away(target: NDArray[np.int64], strength: Sequence[float], seed: int) -> NDArray[np.int64]:
    """Whose square every image gets: its class's with that class's strength, else none (-1).

    Args:
        target: classes [N].
        strength: probability for each class [K].
        seed: of the draw.

    Example:
        >>> given_away(np.array([0, 0, 1]), [1.0, 0.0], seed=0).tolist()
        [0, 0, -1]
    """
    drawn = np.random.RandomState(seed).random_sample(len(target))
    return np.where(drawn < np.asarray(strength)[target], target, -1)


def other_classes(target: NDArray[np.int64], num_classes: int, seed: int) -> NDArray[np.int64]:
    """For every image another class than its own, drawn uniformly.

    Example:
        >>> bool((other_classes(np.array([0, 1, 2]), 3, seed=0) != np.array([0, 1, 2])).all())
        True
    """
    step = np.random.RandomState(seed).randint(1, num_classes, len(target))
    return (target + step) % num_classes
