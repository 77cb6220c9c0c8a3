"""Branches on shared stages: each is a whole backbone, and owns its gradients."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from tailgrad.checks import InputError
from tailgrad.models import CifarResNet, TimmBackbone, WideResNet
from tailgrad.models.branched_backbone import BranchedBackbone
from tailgrad.models.share_until import default_share_until

SMALL = partial(CifarResNet, blocks=1)
IMAGES = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def _made(branches: int = 3, make: Any = SMALL, **options: Any) -> BranchedBackbone:
    torch.manual_seed(0)
    return BranchedBackbone(make, branches, **options).eval()


def _whole(backbone: BranchedBackbone, place: int, make: Any = SMALL) -> Any:
    """The plain backbone that shared stages and one branch make up."""
    plain = make().eval()
    state = backbone.shared.state_dict() | backbone.copies[place].state_dict()
    plain.load_state_dict(state)
    return plain


@pytest.mark.parametrize("share_until", ["stem", "stage1", "stage2", "stage3"])
def test_each_branch_is_a_backbone_of_its_own(share_until: str) -> None:
    backbone = _made(share_until=share_until)
    maps = [_whole(backbone, place)(IMAGES) for place in range(3)]
    torch.testing.assert_close(backbone(IMAGES), torch.cat(maps, 1))
    for place, features in enumerate(maps):
        torch.testing.assert_close(backbone.branch(IMAGES, place), features)
    same = torch.equal(maps[0], maps[1])
    assert same == (share_until == "stage3")


def test_pooling_is_that_of_the_branches_side_by_side() -> None:
    backbone = _made()
    maps = backbone(IMAGES)
    parts = maps.unflatten(1, (3, 64)).mean((3, 4))
    torch.testing.assert_close(backbone.pool(maps), parts.flatten(1))
    torch.testing.assert_close(backbone.pool_branch(maps[:, 64:128], 1), parts[:, 1])
    assert (backbone.channels, backbone.pooled) == (maps.shape[1], parts.flatten(1).shape[1])


@pytest.mark.parametrize("place", [0, 2])
def test_a_branch_trains_itself_and_what_is_shared(place: int) -> None:
    backbone = _made().train()
    backbone.branch(IMAGES, place).square().sum().backward()
    for name, parameter in backbone.named_parameters():
        reached = parameter.grad is not None and bool(parameter.grad.any())
        assert reached == name.startswith(("shared.", f"copies.{place}.")), name


def test_shared_stages_learn_the_sum_of_the_branches() -> None:
    backbone = _made()
    weight = backbone.shared.stem[0].weight

    def gradient(value: Tensor) -> Tensor:
        return torch.autograd.grad(value.square().sum(), weight)[0]

    parts = [gradient(backbone.branch(IMAGES, place)) for place in range(3)]
    torch.testing.assert_close(gradient(backbone(IMAGES)), sum(parts), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("own", "share_until"), [(1, "stage2"), (2, "stage1")])
def test_weights_are_counted_once_where_shared(own: int, share_until: str) -> None:
    plain, backbone = SMALL(), _made(4, own=own)
    assert backbone.share_until == share_until == default_share_until(plain, own)
    shared = sum(p.numel() for p in backbone.shared.parameters())
    count = sum(p.numel() for p in plain.parameters())
    assert sum(p.numel() for p in backbone.parameters()) == shared + 4 * (count - shared)
    stages = ["stem", *[f"stage{i}" for i in range(1, 4)]]
    assert [name for name, _ in backbone.shared.named_children()] == stages[: stages.index(share_until) + 1]


def test_one_branch_is_the_backbone() -> None:
    backbone = _made(1, share_until="stage2")
    torch.testing.assert_close(backbone(IMAGES), _whole(backbone, 0)(IMAGES))
    assert (backbone.channels, backbone.pooled) == (64, 64)


def test_what_the_weights_want_of_images_is_kept() -> None:
    timm = _made(2, partial(TimmBackbone, "resnet10t"))
    assert timm.net is timm.copies[0].net
    assert timm.input_size == timm.copies[0].input_size
    assert _made(2, partial(WideResNet, depth=10, width=1)).net is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"branches": 0}, r"branches must be in .*got 0"),
        ({"branches": 2, "own": 0}, r"own must be in .*got 0"),
        ({"branches": 2, "own": 3}, "share_until must be given"),
        ({"branches": 2, "share_until": "stage7"}, "got 'stage7'; did you mean 'stage"),
        ({"branches": 2, "make": "resnet32"}, "function that builds a backbone, got str"),
    ],
)
def test_what_cannot_be_built_is_named(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        _made(**arguments)
