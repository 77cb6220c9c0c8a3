from functools import partial

import pytest
import torch
from torch import nn

from tailgrad.checks import InputError
from tailgrad.models import CifarResNet, TimmBackbone, TriPath, WideResNet
from tailgrad.models.evaluating import evaluating
from tailgrad.models.share_until import cut, default_share_until

SMALL = partial(CifarResNet, blocks=2)
CASES = [
    (TriPath, "stage1", "stage2"),
    (SMALL, "stage1", "stage2"),
    (partial(WideResNet, depth=10, width=1), "stage1", "stage2"),
    (partial(TimmBackbone, "resnet10t"), "net.layer2", "net.layer3"),
    (partial(TimmBackbone, "convnext_atto"), "net.stages.1", "net.stages.2"),
    (partial(TimmBackbone, "mobilenetv3_small_050"), "net.blocks.2", "net.blocks.3"),
]


@pytest.mark.parametrize(("make", "two", "one"), CASES)
def test_large_stages_are_found_and_cutting_changes_nothing(make, two: str, one: str) -> None:
    backbone, images = make(), torch.rand(2, 3, 64, 64)
    assert (default_share_until(backbone, 2), default_share_until(backbone, 1)) == (two, one)
    with evaluating(backbone), torch.no_grad():
        expected = backbone(images)
    names = {id(p): name for name, p in backbone.named_parameters()}
    shared = cut([backbone], two)
    with evaluating(backbone), evaluating(shared), torch.no_grad():
        torch.testing.assert_close(backbone(shared(images)), expected)
    parts = [{names[id(p)] for p in part.parameters()} for part in (shared, backbone)]
    assert not parts[0] & parts[1]
    assert parts[0] | parts[1] == set(names.values())
    assert all(module.training for module in backbone.modules())


def test_a_single_block_may_be_all_that_is_owned() -> None:
    backbone = SMALL()
    shared = cut([backbone], "stage3.0")
    assert [name for name, _ in shared.named_children()] == ["stem", "stage1", "stage2", "stage3_0"]
    assert {name.split(".")[1] for name, _ in backbone.named_parameters()} == {"1"}


def test_cutting_draws_nothing_and_leaves_statistics_alone() -> None:
    torch.manual_seed(3)
    SMALL()
    expected = torch.rand(4)
    torch.manual_seed(3)
    backbone = SMALL()
    shared = cut([backbone], "stage2")
    assert torch.equal(torch.rand(4), expected)
    norms = [m for part in (shared, backbone) for m in part.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == 13
    assert all(int(norm.num_batches_tracked) == 0 for norm in norms)


class _Tail(nn.Module):
    """A backbone that adds its input behind the first stage, and has a layer that never runs."""

    channels, pooled, grid, input_size, stages = 3, 3, True, None, ("first", "second")

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.never = (nn.Conv2d(3, 3, 1) for _ in range(3))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.second(self.first(images) + images)


@pytest.mark.parametrize(
    ("make", "share_until", "message"),
    [
        (SMALL, "stage4", r"got 'stage4'; did you mean 'stage"),
        (_Tail, "second", "got 'second' of _Tail .it computes something else when cut there"),
        (_Tail, "never", "got 'never', which did not run"),
        (partial(TimmBackbone, "vit_tiny_patch16_224"), "net.blocks.9", "choose .* a convolutional network"),
    ],
)
def test_what_cannot_be_cut_is_named(make, share_until: str, message: str) -> None:
    with pytest.raises(InputError, match=f"share_until must .*{message}"):
        cut([make()], share_until)
    with pytest.raises(
        InputError, match="share_until must be given .* _Tail with stages first, second; name"
    ):
        default_share_until(_Tail(), 1)
