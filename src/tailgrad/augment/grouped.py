"""Different changes for different images of one batch, one call for each kind of change."""

from collections.abc import Callable, Sequence

from torch import Tensor

Change = Callable[[Tensor, Tensor], Tensor]
"""Images [n, C, H, W] and one number each, [n] float64 on the CPU -> images of the same shape and type."""


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
    # Group and value stay on the CPU: finding the members there never waits for an accelerator.
    for g, change in enumerate(changes):
        members = (group == g).nonzero().squeeze(1)
        if len(members):
            places = members.to(images.device)
            images[places] = change(images[places], value[members])
    return images
