"""Training images reach the network in the layout that the learner asks for, whatever augmented them."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from tailgrad.augment import Mixup, Normalize
from tailgrad.engine import Learner
from tailgrad.recipes.components import components
from tailgrad.recipes.transforms import make_transforms
from tailgrad.types import Batch

NAMES = sorted(set(components("augment")) - {"normalize"})


@pytest.mark.parametrize(
    "names", [[], *([name] for name in NAMES), ["crop", "flip", "auto_augment", "cutout"]]
)
@pytest.mark.parametrize("mix", [None, Mixup([3, 2])])
def test_the_layout_changes_no_number(names: list[str], mix: Mixup | None) -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (5, 3, 12, 8), dtype=torch.uint8, generator=generator)
    batch = Batch(images, torch.tensor([0, 1, 0, 1, 0]), torch.arange(5))
    plain = Learner.plain(nn.Sequential(nn.Flatten(), nn.Linear(288, 2)), nn.CrossEntropyLoss(), lr=0.1)
    before, after = make_transforms(names)
    plain = replace(
        plain, prepare=Normalize([0.5] * 3, [0.2] * 3), augment=after, augment_bytes=before, mix=mix
    )
    torch.manual_seed(1)
    expected = plain.examples(batch).images
    torch.manual_seed(1)
    found = replace(plain, channels_last=True).examples(batch).images
    assert torch.equal(found, expected)
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert expected.is_contiguous()
