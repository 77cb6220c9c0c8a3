"""Who helps and who hurts whom: each class's part in what an update does to every other."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tailgrad.checks import InputError, in_range, one_of
from tailgrad.interference.gram import Array

Numbers = Sequence[float] | npt.NDArray[np.float64] | npt.NDArray[np.int64]
WEIGHTINGS = ("mean", "batch")


def shares(counts: Numbers, class_weights: Numbers | None = None, weighting: str = "mean") -> Array:
    """The factor ``s_j`` of each class gradient in the gradient of the weighted mean loss, [K].

    ``u = sum_j s_j g_j`` with ``s_j = w_j n_j / sum_l w_l n_l`` (``"mean"``: the mean divides by the weights,
    as in PyTorch) or ``s_j = w_j n_j / N`` (``"batch"``: by the number of examples).

    Args:
        counts: examples of each class [K], at least 0 and not all 0.
        class_weights: w [K], at least 0; None for ones.
        weighting: ``"mean"`` or ``"batch"``.

    Raises:
        InputError: negative or no counts, weights of another length or below 0, an unknown weighting.

    Source: ours; explained in docs/conflict.md.

    Example:
        >>> shares([3, 1]), shares([3, 1], [1, 3])
        (array([0.75, 0.25]), array([0.5, 0.5]))
    """
    one_of("weighting", weighting, WEIGHTINGS)
    examples = _not_negative("counts", counts)
    weights = (
        np.ones(len(examples)) if class_weights is None else _not_negative("class_weights", class_weights)
    )
    if len(weights) != len(examples):
        raise InputError(
            f"class_weights must hold one number a class, got {len(weights)} for {len(examples)} classes; "
            "give them in the order of the counts"
        )
    total = float((weights * examples).sum() if weighting == "mean" else examples.sum())
    if total == 0:
        raise InputError(
            f"counts must hold an example with a weight, got {examples.tolist()}; count the labels"
        )
    return weights * examples / total


def contributions(
    gram: Array, counts: Numbers, class_weights: Numbers | None = None, weighting: str = "mean"
) -> Array:
    """Entry [c, j]: how much class j's part of the plain SGD update lowers the loss of class c.

    ``<g_c, u> = sum_j s_j <g_c, g_j>``, so that a row adds up to ``<g_c, u>`` and, times minus the learning
    rate, to the change of class c's loss to first order. Positive helps, negative hurts.

    Args:
        gram: inner products of the mean class gradients [K, K], without class weights.
        counts: examples of each class in the data or the batch that the step sees [K].
        class_weights: w [K] of the loss; None for ones.
        weighting: what the weighted mean divides by, see `shares`.

    Returns:
        [K, K]; NaN in the row of a class without an example, 0 in its column.

    Raises:
        InputError: a Gram that is not [K, K], or what `shares` refuses.

    Source: ours; explained in docs/conflict.md.

    Example:
        >>> contributions(np.array([[2.0, -1.0], [-1.0, 4.0]]), [3, 1])
        array([[ 1.5 , -0.25],
               [-0.75,  1.  ]])
    """
    factors = shares(counts, class_weights, weighting)
    products = np.asarray(gram, dtype=np.float64)
    if products.shape != (len(factors), len(factors)):
        raise InputError(
            f"gram must be [K, K] for the {len(factors)} classes counted, got shape {list(products.shape)}; "
            "measure and count the same classes"
        )
    seen = np.asarray(counts) > 0
    result = np.where(factors > 0, products, 0.0) * factors
    return np.where(seen[:, None], result, np.nan)


def remainder(products: Array, contributions: Array, lr: float) -> Array:
    """What momentum, adaptive scaling, weight decay or SAM add to ``<g_c, u>``, [K].

    ``<g_c, u> - sum_j contributions[c, j]`` with ``u = (theta_before - theta_after) / lr``.

    Args:
        products: ``<g_c, theta_before - theta_after>`` [K], which is minus the predicted change.
        contributions: [K, K], of the same parameters.
        lr: learning rate, above 0.

    Raises:
        InputError: a learning rate that is not positive.

    Source: ours; explained in docs/conflict.md.

    Example:
        >>> remainder(np.array([0.2]), np.array([[1.5]]), lr=0.1)
        array([0.5])
    """
    rate = in_range("lr", lr, 0, exclusive=True)
    result: Array = products / rate - contributions.sum(1)
    return result


@dataclass(frozen=True, slots=True, eq=False)
class LogitPull:
    """How hard a class's logit is pulled by its own examples and by the others'.

    ``own_c = sum_{i: y_i = c} |dL_i/dz_ic|`` pulls the logit up, ``others_c``, the sum over ``y_i != c``,
    pushes it down. Pulls add over batches.

    Args:
        own: [K].
        others: [K].

    Source: the accumulated quantity of equalization losses and GALA (arXiv 2403.09036).

    Example:
        >>> (LogitPull(np.array([1.0]), np.array([3.0])) + LogitPull(np.array([1.0]), np.array([1.0]))).ratio
        array([0.5])
    """

    own: Array
    others: Array

    @property
    def ratio(self) -> Array:
        """``own / others`` [K]: below 1 the others push harder; NaN where they do not push at all."""
        return self.own / np.where(self.others > 0, self.others, np.nan)

    def __add__(self, more: "LogitPull") -> "LogitPull":
        return LogitPull(self.own + more.own, self.others + more.others)


def logit_pull(gradients: Tensor, target: Tensor) -> LogitPull:
    """Sum the absolute logit gradients of one batch by class.

    Args:
        gradients: of each example's loss with respect to its logits [N, K]; of a mean loss they are N times
            smaller.
        target: class indices [N].

    Raises:
        InputError: shapes that do not fit.

    Source: see `LogitPull`.

    Example:
        >>> logit_pull(torch.tensor([[-0.6, 0.4, 0.2]]), torch.tensor([0])).others.round(1)
        array([0. , 0.4, 0.2])
    """
    if gradients.ndim != 2 or target.shape != gradients.shape[:1] or target.is_floating_point():
        raise InputError(
            f"gradients must be [N, K] with N class indices, got shapes {list(gradients.shape)} and "
            f"{list(target.shape)} ({target.dtype}); pass one row and one label an example"
        )
    sizes = gradients.detach().abs().to("cpu", torch.float64)
    labels = target.cpu().long()
    mine = sizes.gather(1, labels[:, None])[:, 0]
    own = sizes.new_zeros(sizes.shape[1]).index_add_(0, labels, mine)
    return LogitPull(own.numpy(), (sizes.sum(0) - own).clamp(min=0).numpy())


def _not_negative(argument: str, values: Numbers) -> Array:
    found = np.asarray(values, dtype=np.float64)
    if found.ndim != 1 or not (np.isfinite(found) & (found >= 0)).all():
        raise InputError(
            f"{argument} must be one number a class, 0 or more, got {np.asarray(values).tolist()}; "
            "give them in class order"
        )
    return found
