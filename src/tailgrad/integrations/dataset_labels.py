"""The class of every training example, found in a data set or given."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Subset, TensorDataset

from tailgrad.checks import InputError

COLUMNS = ("labels", "label", "label_ids")
"""What the Hugging Face collators take for the label."""

_ATTRIBUTES = ("targets", "labels")
_MOST_ITEMS = 10_000
_REMEDY = "give train_labels, the class index of each training example"
Integers = NDArray[np.int64]


def dataset_labels(dataset: Any) -> Integers:
    """Class indices [N] of a data set with a length.

    Looked for in this order: the column ``labels``, ``label`` or ``label_ids`` of a Hugging Face data set;
    the attribute ``targets`` (torchvision's) or ``labels``; the last tensor of a ``TensorDataset``; up to
    10,000 items, read one by one: their second part, or the entry of such a name. A ``Subset`` asks what it
    is a part of.

    Args:
        dataset: map-style.

    Raises:
        InputError: no length, no labels, or labels that are not class indices.

    Example:
        >>> dataset_labels(TensorDataset(torch.zeros(3, 2), torch.tensor([0, 2, 1]))).tolist()
        [0, 2, 1]
        >>> dataset_labels([{"x": 1.0, "label": 1}, {"x": 2.0, "label": 0}]).tolist()
        [1, 0]
    """
    if isinstance(dataset, Subset):
        return dataset_labels(dataset.dataset)[np.asarray(dataset.indices, np.int64)]
    return checked_labels(_found(dataset), f"labels of the {type(dataset).__name__}")


def checked_labels(labels: Any, argument: str = "train_labels") -> Integers:
    """Labels as class indices [N], int64.

    Raises:
        InputError: text, numbers that are not whole, several labels an example, or an index below 0.

    Example:
        >>> checked_labels(["cat", "dog"])
        Traceback (most recent call last):
        ...
        tailgrad.checks.InputError: train_labels must be class indices, got 'cat'; number the classes ...
    """
    plain = labels.detach().cpu() if isinstance(labels, Tensor) else labels
    try:
        found = np.asarray(plain)
    except ValueError:  # rows of different lengths
        found = np.empty((len(plain), 0))
    if found.ndim != 1 or not found.size:
        raise InputError(
            f"{argument} must be one class index an example, got shape {list(found.shape)}; several labels "
            "an example have no class counts: set class_imbalance=None and take a loss for them"
        )
    if found.dtype.kind in "USO":
        raise InputError(
            f"{argument} must be class indices, got {found.tolist()[0]!r}; number the classes from 0, in "
            "Hugging Face datasets by class_encode_column"
        )
    if found.dtype.kind not in "iu" or found.min() < 0:
        bad = found.min() if found.dtype.kind in "iu" else found.dtype
        raise InputError(f"{argument} must be class indices from 0 on, got {bad}; {_REMEDY}")
    return found.astype(np.int64)


def count_labels(labels: Integers, num_classes: int | None = None) -> tuple[int, ...]:
    """Examples of each class.

    Args:
        labels: class indices [N].
        num_classes: K of the model; None takes the largest index and one.

    Raises:
        InputError: an index is K or more.

    Example:
        >>> count_labels(np.array([0, 2, 0]), 4)
        (2, 0, 1, 0)
    """
    most = int(labels.max())
    if num_classes is not None and most >= num_classes:
        raise InputError(
            f"labels must be below the {num_classes} classes of the model, got {most}; give the model "
            f"{most + 1} classes (num_labels)"
        )
    return tuple(np.bincount(labels, minlength=num_classes or 0).tolist())


def _found(dataset: Any) -> Any:
    if not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__"):
        raise InputError(
            f"train_dataset must have a length and items, got a {type(dataset).__name__}; a sampler cannot "
            "do without, a loss can: give class_counts"
        )
    columns = getattr(dataset, "column_names", None)
    if isinstance(columns, Sequence):
        return _column(dataset, columns)
    for name in _ATTRIBUTES:
        if getattr(dataset, name, None) is not None:
            return getattr(dataset, name)
    return dataset.tensors[-1] if isinstance(dataset, TensorDataset) else _of_items(dataset)


def _column(dataset: Any, columns: Sequence[str]) -> Any:
    name = next((name for name in COLUMNS if name in columns), None)
    if name is None:
        raise InputError(
            f"train_dataset must have a column {' or '.join(COLUMNS)}, got {', '.join(columns)}; rename "
            f"yours by rename_column, or {_REMEDY}"
        )
    reset = getattr(dataset, "with_format", None)  # a transform or a choice of columns may hide the labels
    return (dataset if reset is None else reset(None))[name][:]


def _of_items(dataset: Any) -> Any:
    if len(dataset) > _MOST_ITEMS:
        raise InputError(
            f"train_dataset must show its labels without reading all items, got {len(dataset)} items of a "
            f"{type(dataset).__name__} without targets or labels; {_REMEDY}"
        )
    with torch.random.fork_rng(devices=[]):  # random transforms of items that are only looked at
        return [_of_item(dataset[i]) for i in range(len(dataset))]


def _of_item(item: Any) -> Any:
    if isinstance(item, Mapping):
        found = next((item[key] for key in COLUMNS if item.get(key) is not None), None)
        came = f"an item with {', '.join(map(str, item))}"
    else:
        found = item[1] if isinstance(item, tuple | list) and len(item) > 1 else None
        came = f"an item that is a {type(item).__name__}"
    if found is None:
        raise InputError(f"train_dataset must have labels, got {came}; {_REMEDY}")
    return found.tolist() if isinstance(found, Tensor) else found
