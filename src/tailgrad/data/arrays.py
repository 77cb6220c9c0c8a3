"""Images and labels that are already in Python: a pair of arrays, or a map-style dataset."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tailgrad.checks import InputError
from tailgrad.data.decode import UnreadableImage
from tailgrad.data.labels import class_indices
from tailgrad.data.pictures import Pictures, as_array
from tailgrad.data.source import Source


class _First:
    """The images of a dataset that gives (image, label)."""

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, i: int) -> Any:
        return _pair(self._dataset, i)[0]


def open_arrays(images: Any, labels: Any) -> Source:
    """Open a pair of arrays.

    Args:
        images: [N, H, W], [N, H, W, 3] or [N, 3, H, W], uint8 or floating point in [0, 1]; an array, a
            tensor or a list. Kept, not copied.
        labels: N integers without gaps, or text.

    Raises:
        InputError: different lengths, labels of more than one dimension, or as for any label column.

    Example:
        >>> open_arrays(np.zeros((3, 8, 8)), ["a", "b", "a"]).counts
        (2, 1)
    """
    values = as_array(labels)
    if values.ndim != 1 or len(values) != len(images):
        raise InputError(
            f"labels must be one for each of {len(images)} images, got shape {values.shape}; give class "
            "indices [N]"
        )
    return _source("arrays", Pictures(images), values.tolist(), ())


def open_dataset(dataset: Any) -> Source:
    """Open a map-style dataset that gives (image, label).

    Labels are taken from its ``targets`` where no transform changes them, else by asking for every item
    once. Images should not be augmented or normalised; that is done later.

    Args:
        dataset: has ``__len__`` and ``__getitem__``; its ``classes`` name the classes, where it has them.

    Raises:
        InputError: an item that is no pair, or as for any label column.

    Example:
        >>> open_dataset([(np.zeros((8, 8)), 0), (np.ones((8, 8)), 1)]).class_names
        ('0', '1')
    """
    names = tuple(str(name) for name in getattr(dataset, "classes", None) or ())
    return _source(type(dataset).__name__, Pictures(_First(dataset)), _targets(dataset), names)


def _targets(dataset: Any) -> list[object]:
    targets = getattr(dataset, "targets", None)
    if (
        targets is not None
        and len(targets) == len(dataset)
        and getattr(dataset, "target_transform", None) is None
    ):
        return list(as_array(targets).tolist())
    return [_label(_pair(dataset, i)[1], i) for i in range(len(dataset))]


def _pair(dataset: Any, i: int) -> tuple[Any, Any]:
    try:
        item = dataset[i]
    except OSError as error:  # what Pillow raises inside a dataset of files
        raise UnreadableImage(f"row {i}", str(error)) from error
    if not (isinstance(item, tuple | list) and len(item) == 2):
        raise InputError(f"dataset[{i}] must be (image, label), got {type(item).__name__}; wrap the dataset")
    return item[0], item[1]


def _label(label: Any, i: int) -> object:
    if np.ndim(label) != 0:
        raise InputError(f"label of row {i} must be one class, got shape {np.shape(label)}; give its index")
    return label.item() if hasattr(label, "item") else label


def _source(name: str, items: Pictures, values: Sequence[object], class_names: tuple[str, ...]) -> Source:
    labels, names = class_indices(values, class_names, items.name)
    return Source(name, items, labels, names, given=("",) * len(items))
