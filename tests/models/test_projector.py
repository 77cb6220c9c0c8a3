import pytest
import torch
from torch.nn import functional as F

from tailgrad.checks import InputError
from tailgrad.models import Projector


@pytest.mark.parametrize(("channels", "hidden"), [(512, 2048), (2048, 2048), (64, 256)])
def test_two_layers_with_the_width_of_the_source(channels: int, hidden: int) -> None:
    projector, features = Projector(channels), torch.randn(3, channels)
    assert projector.widen.out_features == hidden
    inner = F.linear(features, projector.widen.weight, projector.widen.bias).clamp(min=0)
    expected = F.linear(inner, projector.narrow.weight, projector.narrow.bias)
    torch.testing.assert_close(projector(features), expected)
    assert projector(features.bfloat16()).shape == (3, 128)


@pytest.mark.parametrize("widths", [(0, 4, 4), (4, 0, 4), (4, 4, 0)])
def test_widths_are_at_least_one(widths: tuple[int, int, int]) -> None:
    with pytest.raises(InputError, match=r"must be in \[1, inf\], got 0"):
        Projector(*widths)
