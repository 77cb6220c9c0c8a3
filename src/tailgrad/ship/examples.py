"""Examples of a run as its graph takes them, with their classes."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tailgrad.ship.description import Description
from tailgrad.ship.feed import CATEGORIES, IMAGES, NUMBERS, Feed, graph_inputs

_RANDOM = 16


@dataclass(frozen=True)
class Examples:
    """Images or rows of a run.

    Args:
        feed: by the name of the input: pixels, resized and not normalised; or encoded rows.
        target: class of each [N], or zeros and ones [N, L] of several labels.

    Example:
        >>> len(Examples({"images": np.zeros((2, 3, 8, 8), np.uint8)}, np.zeros(2, np.int64)))
        2
    """

    feed: Feed
    target: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.target)


def random_examples(about: Description) -> Feed:
    """Sixteen random examples of the form that an artefact takes, the same every time.

    Numbers are standard normal, columns that say where a value was missing 0 or 1, and categories any that
    training has seen or none of them.

    Example:
        >>> from tailgrad.ship.description import Preprocessing
        >>> images = Preprocessing(size=(8, 8), mean=(0, 0, 0), std=(1, 1, 1))
        >>> about = Description(names=("a", "b"), counts=(1, 1), preprocessing=images)
        >>> random_examples(about)["images"].shape
        (16, 3, 8, 8)
    """
    random, form, encoding = np.random.default_rng(0), about.preprocessing, about.encoding
    if form is not None:
        return {IMAGES: random.integers(0, 256, (_RANDOM, 3, *form.size), np.uint8)}
    assert encoding is not None  # this tells the type checker
    numbers = random.standard_normal((_RANDOM, encoding.width)).astype(np.float32)
    numbers[:, encoding.discrete] = numbers[:, encoding.discrete] > 0
    seen = np.array(encoding.cardinalities, np.int64)
    categories = random.integers(0, seen + 1, (_RANDOM, len(seen)))
    both: dict[str, NDArray[Any]] = {NUMBERS: numbers, CATEGORIES: categories}
    return {name: both[name] for name in graph_inputs(about)}
