"""What happens to the images of a training batch, made from the names in a configuration."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from tailgrad.augment import Crop, SimCLRViews
from tailgrad.recipes.components import NONE, build
from tailgrad.recipes.config import AuxiliaryConfig, NamedConfig

Transform = Callable[[Tensor], Tensor]


def make_transforms(names: Sequence[str]) -> tuple[Transform | None, Transform]:
    """The named transforms in order, those for bytes with all before them apart from the rest.

    AutoAugment and its kind change stored bytes, and a crop of bytes pads with black, as the field's scripts
    do before they normalise; what stands before the last of these in the list works on bytes too, the rest on
    normalised images.

    Raises:
        InputError: a name is unknown.

    Example:
        >>> before, after = make_transforms(["crop", "auto_augment", "cutout"])
        >>> [type(t).__name__ for t in before.transforms], [type(t).__name__ for t in after.transforms]
        (['Crop', 'AutoAugment'], ['Cutout'])
    """
    made = [build("augment", name, {}) for name in names]
    on_bytes = [place for place, one in enumerate(made) if isinstance(one, Crop) or _of_bytes(one)]
    cut = on_bytes[-1] + 1 if on_bytes else 0
    return (InOrder(made[:cut]) if cut else None), InOrder(made[cut:])


def _of_bytes(transform: Transform) -> bool:
    return getattr(transform, "on", "any") == "bytes"


class InOrder:
    """Transforms one after the other.

    Args:
        transforms: images [N, C, H, W] -> the same.

    Example:
        >>> import torch
        >>> InOrder([])(torch.ones(1)).item()
        1.0
    """

    def __init__(self, transforms: Sequence[Transform]) -> None:
        self.transforms = transforms

    def __call__(self, images: Tensor) -> Tensor:
        """All of them."""
        for transform in self.transforms:
            images = transform(images)
        return images


def make_mixer(mixing: NamedConfig, counts: Sequence[int], epochs: int) -> Any:
    """What mixes images and targets, or None.

    Raises:
        InputError: an option is out of range.

    Example:
        >>> make_mixer(NamedConfig(name="none"), [3, 1], epochs=5) is None
        True
    """
    if mixing.name == NONE:
        return None
    return build("mixers", mixing.name, mixing.options, list(counts), filled={"epochs": epochs})


def make_views(auxiliary: AuxiliaryConfig) -> Transform | None:
    """Stored bytes [N, 3, H, W] -> views [V, N, 3, H, W], or None where no loss takes them.

    Example:
        >>> make_views(AuxiliaryConfig()) is None
        True
    """
    if auxiliary.name == NONE or not auxiliary.weight or not auxiliary.views:
        return None
    return SimCLRViews(views=auxiliary.views)
