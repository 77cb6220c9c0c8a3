"""What a trained run says of one example."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tailgrad.checks import in_range
from tailgrad.recipes.run_folder import RunFolder
from tailgrad.untrusted import of_shape

JOINED = "; "
"""Between the labels of an image that has several."""


@dataclass(frozen=True)
class Prediction:
    """The class of one image, or of one row of a table.

    Args:
        file: path as given; of a table with ``#`` and the number of the row, from 0 below the header.
        name: predicted class.
        probability: its softmax probability.
        probabilities: of every class, in class order.
        error: why the image could not be read; then the other fields are empty.
        label: the row's own class, where its table says.
        labels: of an image that may have several, those it has; ``name`` joins them. Else None.

    Example:
        >>> Prediction("a.png", "cat", 0.9, (0.9, 0.1)).name
        'cat'
    """

    file: str
    name: str
    probability: float
    probabilities: tuple[float, ...]
    error: str = ""
    label: str = ""
    labels: tuple[str, ...] | None = None


def focus_of_run(folder: RunFolder, names: Sequence[str]) -> tuple[int, float] | None:
    """Index of the class in focus of a finished run, and its threshold; None without one.

    Example: see ``predict``.
    """
    with of_shape(folder.result_file):
        focus = folder.result()["focus"]
        return focus and (names.index(focus["class"]), in_range("threshold", focus["threshold"], -math.inf))
