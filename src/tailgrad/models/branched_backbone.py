"""Copies of a backbone's last stages on its first ones, as one backbone."""

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from tailgrad.checks import InputError, in_range
from tailgrad.models.backbone import Backbone
from tailgrad.models.share_until import cut, default_share_until
from tailgrad.types import Inputs

MakeBackbone = Callable[[], Backbone]


class BranchedBackbone(nn.Module):
    """B branches that share the first stages of a backbone and own the rest; their maps side by side.

    Each branch comes from a call of ``make_backbone`` of its own, so that branches start from weights of
    their own, drawn as the backbone draws them. Pretrained backbones are the same at every call: then
    branches part through their heads alone.

    Args:
        make_backbone: builds a backbone, a new one at each call.
        branches: B, at least 1.
        share_until: the last submodule that all branches share, such as ``"stage1"``; None leaves the last
            ``own`` large stages to the branches.
        own: large stages that each branch owns where ``share_until`` is None, at least 1.

    Raises:
        InputError: a number is outside its range, ``make_backbone`` gives no new backbone, or the backbone
            cannot be cut there.

    Source: RIDE and BBN (official codes) copy the last stages; cutting any backbone is ours.

    Example:
        >>> from tailgrad.models import CifarResNet
        >>> backbone = BranchedBackbone(CifarResNet, branches=3, share_until="stage1")
        >>> features = backbone(torch.zeros(2, 3, 32, 32))
        >>> features.shape, backbone.pool(features).shape, backbone.channels
        (torch.Size([2, 192, 8, 8]), torch.Size([2, 192]), 192)
    """

    stages: tuple[str, ...] = ("shared", "copies")

    def __init__(
        self, make_backbone: MakeBackbone, branches: int, share_until: str | None = None, own: int = 1
    ) -> None:
        in_range("branches", branches, 1)
        in_range("own", own, 1)
        super().__init__()
        made = [_new(make_backbone) for _ in range(branches)]
        if len({id(backbone) for backbone in made}) < branches:
            raise InputError(
                "make_backbone must build a new backbone at each call, got the same "
                f"{type(made[0]).__name__} twice; pass the class or a function"
            )
        self.share_until = default_share_until(made[0], own) if share_until is None else share_until
        self.shared = cut(made, self.share_until)
        self.copies = nn.ModuleList(cast("list[nn.Module]", made))
        self.channels = branches * made[0].channels
        self.pooled = branches * made[0].pooled
        self.grid, self.input_size = made[0].grid, made[0].input_size
        self.takes = getattr(made[0], "takes", "images")

    def forward(self, images: Inputs) -> Tensor:
        """Maps of all branches [N, B C, *spatial] of images [N, 3, H, W]."""
        shared = self.shared(images)
        return torch.cat([branch(shared) for branch in self.copies], 1)

    def branch(self, images: Inputs, place: int) -> Tensor:
        """The map [N, C, *spatial] of one branch."""
        features: Tensor = self.copies[place](self.shared(images))
        return features

    def pool(self, features: Tensor) -> Tensor:
        """Pooled features [N, B D] of the maps of all branches."""
        parts = features.chunk(len(self.copies), 1)
        return torch.cat([self.pool_branch(part, i) for i, part in enumerate(parts)], 1)

    def pool_branch(self, features: Tensor, place: int) -> Tensor:
        """Pooled features [N, D] of the map of one branch."""
        return cast("Backbone", self.copies[place]).pool(features)

    @property
    def net(self) -> object:
        """The first branch's timm model, which says what its weights want of images; None for others."""
        return getattr(self.copies[0], "net", None)


def _new(make_backbone: MakeBackbone) -> Backbone:
    if isinstance(make_backbone, nn.Module) or not callable(make_backbone):
        raise InputError(
            f"make_backbone must be a function that builds a backbone, got {type(make_backbone).__name__}; "
            "pass the class or a function"
        )
    return make_backbone()
