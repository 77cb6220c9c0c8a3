"""Small drawn numbers, brought to where the images are."""

from torch import Tensor


def beside(images: Tensor, values: Tensor) -> Tensor:
    """``values``, from the CPU, on the device of ``images``; nothing waits for an accelerator.

    Args:
        images: of any shape.
        values: of any shape and type, on the CPU or there already.

    Example:
        >>> import torch
        >>> beside(torch.zeros(1, 3, 2, 2), torch.ones(2))
        tensor([1., 1.])
    """
    if images.device == values.device:
        return values
    # A copy from ordinary memory waits for all that the device still has to do; one from pinned memory does
    # not, and PyTorch keeps that memory until the copy is done.
    pinned = values.pin_memory() if images.device.type == "cuda" else values
    return pinned.to(images.device, non_blocking=True)
