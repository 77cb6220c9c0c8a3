"""AutoAugment: pairs of operations found by search."""

from functools import lru_cache
from typing import ClassVar

import torch
from torch import Tensor

from tailgrad.augment.operation_space import check_bytes, operation_space
from tailgrad.checks import one_of

_STEPS = 10


class AutoAugment:
    """Draw one pair of operations an image; do each of the two with its own probability.

    Args:
        policy: what the pairs were found on: ``"cifar10"``, ``"imagenet"`` or ``"svhn"``.

    Raises:
        InputError: the policy is unknown, or images are not uint8 [N, 3, H, W].

    Source: Cubuk et al., arXiv 1805.09501; policies, magnitudes and results per image are torchvision's
    ``AutoAugment`` (nearest pixel, black outside).

    Example:
        >>> import torch
        >>> AutoAugment("cifar10")(torch.zeros(2, 3, 8, 8, dtype=torch.uint8)).shape
        torch.Size([2, 3, 8, 8])
    """

    kind: ClassVar[str] = "transform"
    on: ClassVar[str] = "bytes"

    def __init__(self, policy: str = "cifar10") -> None:
        from torchvision.transforms import v2

        self.policy = one_of("policy", policy, [each.value for each in v2.AutoAugmentPolicy])

    def __call__(self, images: Tensor) -> Tensor:
        """Augment uint8 images [N, 3, H, W]."""
        check_bytes(images)
        space = operation_space("AutoAugment", _STEPS, *images.shape[-2:])
        operation, probability, step = _pairs(self.policy)
        pair = torch.randint(len(operation), (len(images),))
        images = images.clone()
        for i in range(2):
            done = torch.rand(len(images)) < probability[pair, i]
            images = space.apply(images, torch.where(done, operation[pair, i], -1), step[pair, i])
        return images


@lru_cache
def _pairs(policy: str) -> tuple[Tensor, Tensor, Tensor]:
    """Operation, probability and magnitude step of each pair, [P, 2] each."""
    from torchvision.transforms import v2

    names = operation_space("AutoAugment", _STEPS, 1, 1).names
    pairs = v2.AutoAugment(v2.AutoAugmentPolicy(policy))._policies
    operation = torch.tensor([[names.index(name) for name, _, _ in pair] for pair in pairs])
    probability = torch.tensor([[share for _, share, _ in pair] for pair in pairs])
    return operation, probability, torch.tensor([[step or 0 for _, _, step in pair] for pair in pairs])
