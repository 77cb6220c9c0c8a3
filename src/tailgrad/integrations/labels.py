"""Where the labels of a framework's batch are."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from torch import Tensor

from tailgrad.checks import InputError

FindTarget = Callable[[Any], Tensor]
"""``target(batch) -> [N]`` class indices."""

_KEYS = ("labels", "label", "target")


def labels_of(batch: Any) -> Tensor:
    """Class indices [N] of a batch: its second item, or ``labels``, ``label`` or ``target`` of a mapping.

    Raises:
        InputError: neither is there.

    Example:
        >>> import torch
        >>> labels_of((torch.zeros(2, 3), torch.tensor([0, 1]))).tolist()
        [0, 1]
        >>> labels_of({"input_ids": torch.zeros(1, 3), "labels": torch.tensor([1])}).tolist()
        [1]
    """
    if isinstance(batch, Mapping):
        found = next((batch[key] for key in _KEYS if key in batch), None)
        came = f"a mapping with {', '.join(map(str, batch)) or 'nothing'}"
    else:
        found = batch[1] if isinstance(batch, tuple | list) and len(batch) > 1 else None
        came = type(batch).__name__
    if not isinstance(found, Tensor):
        raise InputError(
            f"batch must be (inputs, target, ...) or a mapping with {_KEYS[0]!r}, got {came}; "
            "say where the class indices are with target=lambda batch: ..."
        )
    return found


class Labelled:
    """The batches of a loader as (inputs, target) pairs, as often as they are asked for.

    Inputs are the first item of a batch, or every entry of a mapping except the target.

    Args:
        loader: an iterable of batches.
        target: where the class indices of a batch are.

    Example:
        >>> import torch
        >>> batch = {"x": torch.zeros(2, 3), "y": torch.tensor([0, 1])}
        >>> [(list(inputs), target.tolist()) for inputs, target in Labelled([batch], lambda b: b["y"])]
        [(['x'], [0, 1])]
    """

    def __init__(self, loader: Iterable[Any], target: FindTarget = labels_of) -> None:
        self._loader, self._target = loader, target

    def __iter__(self) -> Iterator[tuple[Any, Tensor]]:
        for batch in self._loader:
            target = self._target(batch)
            if isinstance(batch, Mapping):
                yield {key: value for key, value in batch.items() if value is not target}, target
            else:
                yield batch[0], target
