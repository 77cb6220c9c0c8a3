"""False Head Rate: images of rare classes that are given to frequent ones."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tailgrad.checks import InputError
from tailgrad.evaluate.confusion import Values, class_indices
from tailgrad.evaluate.estimate import Estimate
from tailgrad.evaluate.groups import thirds
from tailgrad.evaluate.intervals import wilson


@dataclass(frozen=True, slots=True)
class FalseHead:
    """Confusions between the thirds with most and with fewest training images.

    Args:
        head: indices of the third with most training images.
        tail: indices of the third with fewest.
        rate: the False Head Rate: of the images of tail classes, the share predicted as a head class.
        false_tail: of the images of head classes, the share predicted as a tail class.
        of_predictions: of the images predicted as a head class, the share that belongs to a tail class.
        by_class: the False Head Rate of each tail class, in the order of ``tail``.

    Example: see ``false_head_rate``.
    """

    head: tuple[int, ...]
    tail: tuple[int, ...]
    rate: Estimate
    false_tail: Estimate
    of_predictions: Estimate
    by_class: tuple[Estimate, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionary that JSON can hold."""
        return asdict(self)


def false_head_rate(
    predicted: Values, target: Values, counts: Sequence[int], level: float = 0.95
) -> FalseHead:
    """How often an image of a tail class is predicted as a head class, and what goes with it.

    ``FHR = #{n: y_n in tail, yhat_n in head} / #{n: y_n in tail}``; head and tail are the thirds of the
    classes by training count (`thirds`). Images of a tail class that go to a middle class are wrong and do
    not count.

    Args:
        predicted: class indices [N].
        target: class indices [N].
        counts: training images of each class [K], K at least 2.
        level: coverage of the Wilson intervals, in (0, 1).

    Raises:
        InputError: fewer than two classes, different lengths, an index outside [0, K-1], a bad level.

    Source: the definition is ours; it leaves the middle third out, so that a shift of the prior between
        neighbours in frequency does not count.

    Example:
        >>> found = false_head_rate([0, 0, 1, 2, 0], [0, 2, 2, 2, 1], [90, 30, 5])
        >>> print(found.rate, found.of_predictions)
        0.333 [0.061, 0.792] 0.333 [0.061, 0.792]
    """
    if len(counts) < 2:
        raise InputError(
            f"counts must be of at least 2 classes, got {len(counts)}; there is no head and tail"
        )
    own = class_indices(target, len(counts))
    given = class_indices(predicted, len(counts), "predicted", len(own))
    groups = thirds(counts)
    head, tail = groups["head"], groups["tail"]
    to_head, to_tail = np.isin(given, head), np.isin(given, tail)
    in_head, in_tail = np.isin(own, head), np.isin(own, tail)
    return FalseHead(
        head,
        tail,
        _share(to_head, in_tail, level),
        _share(to_tail, in_head, level),
        _share(in_tail, to_head, level),
        tuple(_share(to_head, own == k, level) for k in tail),
    )


def _share(of: NDArray[np.bool_], among: NDArray[np.bool_], level: float) -> Estimate:
    return wilson(int((of & among).sum()), int(among.sum()), level)
