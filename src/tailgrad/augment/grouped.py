"""Different changes for different images of one batch, one call for each kind of change."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from tailgrad.augment.beside import beside

Change = Callable[[Tensor, Tensor], Tensor]
"""Images [n, C, H, W] and one number each, [n] float64 on the CPU -> images of the same shape and type."""

_CACHED = 2**17
"""Numbers that a CPU changes at a time: all that a change computes on the way then stays in its cache."""


def by_group(images: Tensor, group: Tensor, value: Tensor, changes: Sequence[Change]) -> Tensor:
    """Apply ``changes[g]`` to the images whose group is g, in place.

    Args:
        images: [N, C, H, W]; overwritten.
        group: [N] on the CPU; an image of a negative group stays as it is.
        value: [N] on the CPU; what each image's change is told.
        changes: one function a group.

    Example:
        >>> import torch
        >>> images = torch.ones(3, 1, 1, 1)
        >>> add = lambda some, value: some + value.view(-1, 1, 1, 1)
        >>> by_group(images, torch.tensor([0, -1, 0]), torch.tensor([1.0, 2.0, 3.0]), [add]).flatten()
        tensor([2., 1., 4.])
    """
    # Group and value stay on the CPU: finding the members there never waits for an accelerator, and their
    # places travel in one copy.
    order = group.argsort(stable=True)
    there = beside(images, order)
    begin = int((group < 0).sum())
    for change, size in zip(changes, _sizes(group, len(changes)), strict=True):
        for part in _parts(begin, begin + size, images):
            some = change(images.index_select(0, there[part]), value[order[part]])
            _put(images, order[part], there[part], some)
        begin += size
    return images


def _sizes(group: Tensor, groups: int) -> list[int]:
    sizes: list[int] = torch.bincount(group[group >= 0], minlength=groups).tolist()
    return sizes


def _parts(begin: int, end: int, images: Tensor) -> list[slice]:
    on_cpu = images.device.type == "cpu"
    most = max(1, _CACHED // max(1, images[:1].numel())) if on_cpu else max(1, end - begin)
    return [slice(first, min(first + most, end)) for first in range(begin, end, most)]


def _put(images: Tensor, places: Tensor, there: Tensor, changed: Tensor) -> None:
    if images.device.type != "cpu":
        images.index_copy_(0, there, changed)
        return
    # index_copy_ goes number by number on a CPU, a copy of an image as fast as its memory.
    for place, image in zip(places.tolist(), changed, strict=True):
        images[place] = image
