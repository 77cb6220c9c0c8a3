"""Labelled batches from a map-style data set, a loader, a list of batches or a generator, read once."""

import random
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset

from tailgrad.checks import InputError
from tailgrad.interference.trees import Tree, leaves, map_leaves
from tailgrad.interference.trees import form as form_of
from tailgrad.types import Batch, TableInputs

_LABELS = ("labels", "label", "target")
_INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


def batches(data: object, order_seed: int | None = None) -> Iterator[tuple[Tree, Tensor]]:
    """Inputs [n, ...] (or a tree of them) and class indices [n], in the order of the data.

    The first item decides what ``data`` is: a target without dimensions means single examples, a target [n]
    means batches. A generator is consumed once.

    Args:
        data: a map-style data set, or any iterable of (inputs, target) pairs, of ``Batch``, or of
            dictionaries with ``labels`` (or ``label``, ``target``) beside the inputs.
        order_seed: a map-style data set is visited in a random order drawn from this seed; None keeps its
            order.

    Raises:
        InputError: no item, an item without a label, labels that are not class indices, unequal lengths.

    Example:
        >>> inputs, target = next(batches([(torch.zeros(3, 4), torch.tensor([0, 1, 1]))]))
        >>> inputs.shape, target.tolist()
        (torch.Size([3, 4]), [0, 1, 1])
    """
    items = _items(data, order_seed)
    first = next(items, None)
    if first is None:
        raise InputError(
            f"data must hold at least one example, got an empty {type(data).__name__}; check the source"
        )
    single = _labelled(first)[1].ndim == 0
    form: object = None
    for item in chain([first], items):
        inputs, target = _labelled(item)
        if single:
            inputs, target = map_leaves(lambda t: t[None], inputs), target[None]
        form = _check_batch(inputs, target, form)
        yield inputs, target.long()


def _items(data: object, order_seed: int | None) -> Iterator[object]:
    if isinstance(data, tuple | list) and len(data) == 2 and all(_is_array(part) for part in data):
        raise InputError(
            f"data must be batches of (inputs, target), got one {type(data).__name__} of two arrays; pass "
            "[(inputs, target)]"
        )
    map_style = hasattr(data, "__getitem__") and hasattr(data, "__len__")
    if map_style and not isinstance(data, IterableDataset | dict | str | Tensor | np.ndarray):
        order = list(range(len(data)))  # type: ignore[arg-type]
        if order_seed is not None:
            random.Random(order_seed).shuffle(order)
        return (data[i] for i in order)  # type: ignore[index]
    if isinstance(data, Iterable) and not isinstance(data, dict | str | Tensor | np.ndarray):
        return iter(data)
    raise InputError(
        f"data must be a data set or an iterable of (inputs, target) batches, got {type(data).__name__}; "
        "wrap arrays in torch.utils.data.TensorDataset(inputs, target)"
    )


def _is_array(value: object) -> bool:
    return isinstance(value, Tensor | np.ndarray | TableInputs)


def _labelled(item: object) -> tuple[Tree, Tensor]:
    if isinstance(item, Batch):
        return item.inputs, _target(item.target)
    if isinstance(item, Mapping):
        key = next((key for key in _LABELS if key in item), None)
        if key is not None:
            rest = {name: value for name, value in item.items() if name != key}
            return _inputs(rest), _target(item[key])
    if not isinstance(item, tuple | list) or len(item) < 2:
        raise InputError(
            f"data must yield (inputs, target) pairs, got {type(item).__name__} without a label; "
            "conflict between classes needs labels"
        )
    return _inputs(item[0]), _target(item[1])


def _inputs(value: Any) -> Tree:
    if isinstance(value, Tensor | np.ndarray):
        return torch.as_tensor(value)
    if isinstance(value, TableInputs):
        return value
    if isinstance(value, Mapping) and value:
        return {key: _inputs(item) for key, item in value.items()}
    if isinstance(value, tuple | list) and value:
        return tuple(_inputs(item) for item in value)
    raise InputError(
        f"data must yield tensors or arrays as inputs, got {type(value).__name__}; "
        "convert images in the data set's transform"
    )


def _target(value: object) -> Tensor:
    try:
        target = torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError):
        raise InputError(
            f"target must be class indices, got {value!r} ({type(value).__name__}); number the classes from 0"
        ) from None
    if target.dtype not in _INTEGERS:
        raise InputError(f"target must be integer class indices, got {target.dtype}; convert with .long()")
    if target.ndim > 1:
        raise InputError(
            f"target must be class indices [N], got shape {list(target.shape)}; "
            "take the arg-max of one-hot rows"
        )
    return target


def _check_batch(inputs: Tree, target: Tensor, before: object) -> object:
    """Shapes of one example, which may differ between batches in their lengths but not in their number."""
    lengths = [len(t) if t.ndim else 0 for t in leaves(inputs)]
    if target.ndim != 1 or any(n != len(target) for n in lengths):
        shapes = [list(t.shape) for t in leaves(inputs)]
        came = shapes[0] if len(shapes) == 1 else shapes
        raise InputError(
            f"inputs and target must have one entry an example, got inputs {came} and target "
            f"{list(target.shape)}; give every item the same form"
        )
    now = [len(shape) for shape in form_of(inputs)]
    if before is not None and now != before:
        raise InputError(
            f"inputs must have one form, got {list(form_of(inputs))} where examples before had {before} "
            "dimensions; give every item the same form"
        )
    return now
