"""Checked arrays from logits, predictions and targets, and the confusion matrix they give."""

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from tailgrad.checks import InputError

Values = ArrayLike | Tensor
Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


def as_numpy(values: Values) -> NDArray[np.generic]:
    """A list, array or tensor (on any device, bfloat16 included) as a NumPy array.

    Example:
        >>> as_numpy(torch.ones(2, dtype=torch.bfloat16)).tolist()
        [1.0, 1.0]
    """
    if isinstance(values, Tensor):
        # NumPy has no bfloat16.
        values = values.float() if values.dtype == torch.bfloat16 else values
        return np.asarray(values.detach().cpu().numpy())
    return np.asarray(values)


def refuse_outside(
    found: NDArray[Any], valid: NDArray[np.bool_], argument: str, wanted: str, first: int = 0
) -> None:
    """Name the first value that is not valid.

    Args:
        found: values, the first of them that of image ``first``.
        valid: which are, of the same shape.
        argument: name to use in the message.
        wanted: what they must be.
        first: image at which ``found`` begins.

    Raises:
        InputError: one is not valid.

    Example:
        >>> refuse_outside(np.array([1, -1]), np.array([True, True]), "target", "class indices")
    """
    if not valid.all():
        place = tuple(int(i) for i in np.argwhere(~valid)[0])
        index = ", ".join(map(str, (place[0] + first, *place[1:])))
        raise InputError(
            f"{argument} must hold {wanted}, got {argument}[{index}]={found[place]}; "
            "correct or drop these images"
        )


def checked_shape(logits: Values, num_classes: int | None = None) -> NDArray[np.generic]:
    """Logits as an array [N, K] of the type they came in; `scored` looks at the values.

    Args:
        logits: [N, K], N >= 1.
        num_classes: K wanted, or None for any.

    Raises:
        InputError: wrong shape, no image, wrong number of classes.

    Example:
        >>> checked_shape(torch.zeros(2, 3, dtype=torch.bfloat16)).shape
        (2, 3)
    """
    found = as_numpy(logits)
    if found.ndim != 2 or 0 in found.shape:
        raise InputError(
            f"logits must be [N, K] with N and K at least 1, got shape {found.shape}; check them"
        )
    if num_classes is not None and found.shape[1] != num_classes:
        raise InputError(
            f"logits must have one column a class ({num_classes}), got {found.shape[1]}; "
            "evaluate with the classes the model was trained on"
        )
    return found


def class_indices(
    indices: Values, num_classes: int, argument: str = "target", length: int | None = None
) -> Integers:
    """Class indices as an int64 array [N], checked.

    Args:
        indices: [N], integers from 0 to K-1.
        num_classes: K.
        argument: name to use in a message.
        length: N wanted, or None for any N >= 1.

    Raises:
        InputError: wrong shape or length, not integers, an index outside [0, K-1].

    Example:
        >>> class_indices([0, 2], 2)
        Traceback (most recent call last):
        ...
        tailgrad.checks.InputError: target must hold class indices from 0 to 1, got target[1]=2; correct ...
    """
    found = as_numpy(indices)
    if found.ndim != 1 or found.size == 0:
        raise InputError(
            f"{argument} must be [N] with N at least 1, got shape {found.shape}; give one class an image"
        )
    if length is not None and len(found) != length:
        raise InputError(
            f"{argument} must have one entry an image ({length}), got {len(found)}; "
            "keep both in the same order"
        )
    if not np.issubdtype(found.dtype, np.integer):
        raise InputError(f"{argument} must hold integers, got {found.dtype}; give class indices")
    values = found.astype(np.int64)
    refuse_outside(
        values, (values >= 0) & (values < num_classes), argument, f"class indices from 0 to {num_classes - 1}"
    )
    return values


def confusion_matrix(predicted: Values, target: Values, num_classes: int) -> Integers:
    """Count images by target (row) and predicted class (column).

    ``M_ij = #{n : target_n = i, predicted_n = j}``

    Args:
        predicted: predicted class indices [N].
        target: true class indices [N].
        num_classes: K.

    Returns:
        Counts [K, K] (int64).

    Raises:
        InputError: the two differ in length, are empty, or leave [0, K-1].

    Example:
        >>> confusion_matrix([0, 1, 1], [0, 0, 1], 2).tolist()
        [[1, 1], [0, 1]]
    """
    rows = class_indices(target, num_classes, "target")
    columns = class_indices(predicted, num_classes, "predicted", len(rows))
    flat = np.bincount(rows * num_classes + columns, minlength=num_classes**2)
    return flat.reshape(num_classes, num_classes).astype(np.int64)
