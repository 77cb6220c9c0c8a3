"""A dry run that says what map a model makes of images of one size."""

import logging
import warnings
from collections.abc import Callable
from weakref import WeakSet

import torch
from torch import Tensor

from tailgrad.checks import InputError
from tailgrad.models.classifier import Classifier
from tailgrad.models.evaluating import evaluating
from tailgrad.models.fit_images import SMALLEST_SIDE, fitted_size

SMALLEST_MAP = 3
LARGEST_TRIAL = 1024

logger = logging.getLogger("tailgrad")
_warned: WeakSet[Classifier] = WeakSet()


def check_map(model: Classifier, size: tuple[int, int]) -> tuple[int, ...]:
    """Run one black image through the backbone, log the map's size, warn once if it is too small.

    A map under 3 x 3 makes another network of it: nearly every position is padding, batch statistics rest
    on few values, and dropout before the mean regularises far more. Runs in evaluation mode without
    gradients and changes nothing in the model.

    Args:
        model: a classifier on any device.
        size: (height, width) of the images to come, at least 1 each, before any enlargement.

    Returns:
        The map's (height, width); (tokens,) or () where there is no grid.

    Raises:
        InputError: the images are too small for the network to run at all.

    Example:
        >>> from tailgrad.models import create_model
        >>> check_map(create_model("resnet32", 6), (32, 48))
        (8, 12)
    """
    if min(size) < 1:
        raise InputError(f"size must be at least 1 by 1, got {size}; give (height, width) in pixels")
    if getattr(model.backbone, "takes", "images") == "table":
        raise InputError(f"size must be left out for a network for tables, got {size}; it takes no images")
    used = fitted_size(size, model.backbone.input_size)
    spatial = _spatial(model, used)
    if spatial is None:
        side = _smallest_side(model, lambda found: found is not None)
        raise InputError(
            f"images must be large enough for the network, got {size[0]} x {size[1]}; {_remedy(side)}"
        )
    logger.info("images of %d x %d, used at %d x %d, give a final map of %s", *size, *used, _times(spatial))
    if len(spatial) == 2 and min(spatial) < SMALLEST_MAP and model not in _warned:
        _warned.add(model)
        side = _smallest_side(model, _is_large)
        message = (
            f"images of {size[0]} x {size[1]} (used at {_times(used)}) leave a final map of {_times(spatial)}"
        )
        warnings.warn(f"{message}, under 3 x 3; {_remedy(side)}", stacklevel=2)
    return spatial


def _is_large(spatial: tuple[int, ...] | None) -> bool:
    return spatial is not None and min(spatial) >= SMALLEST_MAP


def _times(sizes: tuple[int, ...]) -> str:
    return " x ".join(map(str, sizes)) or "one vector"


def _remedy(side: int | None) -> str:
    if side is None:
        return "use another model"
    return (
        f"use images of at least {side} pixels on each side (a recipe's data.size={side} enlarges them), or "
        "another model"
    )


def _spatial(model: Classifier, size: tuple[int, int]) -> tuple[int, ...] | None:
    parameter = next(model.parameters())
    image = torch.zeros(1, 3, *size, device=parameter.device, dtype=parameter.dtype)
    with evaluating(model), torch.no_grad():
        try:
            features: Tensor = model.backbone(image)
        except (RuntimeError, AssertionError, ValueError):
            return None
    return tuple(features.shape[2:])


def _smallest_side(model: Classifier, good: Callable[[tuple[int, ...] | None], bool]) -> int | None:
    """The smallest side of a good square image, by doubling and halving from 32; None if 1024 is not."""
    if model.backbone.input_size is not None:
        return None
    low, high = SMALLEST_SIDE - 1, SMALLEST_SIDE
    while not good(_spatial(model, (high, high))):
        low, high = high, 2 * high
        if high > LARGEST_TRIAL:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        if good(_spatial(model, (middle, middle))):
            high = middle
        else:
            low = middle
    return high
