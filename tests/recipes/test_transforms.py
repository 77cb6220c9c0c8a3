"""Names of transforms made into what happens before and after bytes become numbers."""

from itertools import permutations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tailgrad.augment import Crop, SimCLRViews
from tailgrad.checks import InputError
from tailgrad.recipes.components import components, snake
from tailgrad.recipes.config import AuxiliaryConfig, NamedConfig
from tailgrad.recipes.transforms import InOrder, make_mixer, make_transforms, make_views

BYTES = {"auto_augment", "rand_augment", "trivial_augment"}
BEFORE = BYTES | {"crop"}
NAMES = sorted(set(components("augment")) - {"normalize"})


def _names(made: InOrder | None) -> list[str]:
    return [] if made is None else [snake(type(one).__name__) for one in made.transforms]


def test_the_transforms_of_bytes_are_those() -> None:
    assert set(NAMES) > BYTES
    assert {name for name in NAMES if getattr(components("augment")[name], "on", "any") == "bytes"} == BYTES


@given(st.lists(st.sampled_from(NAMES), max_size=6))
@settings(max_examples=60)
def test_the_list_is_cut_behind_the_last_that_wants_bytes(names: list[str]) -> None:
    before, after = make_transforms(names)
    assert _names(before) + _names(after) == names
    assert not BEFORE & set(_names(after))
    if before is None:
        assert not BEFORE & set(names)
    else:
        assert _names(before)[-1] in BEFORE


def test_what_stands_before_bytes_end_gets_bytes() -> None:
    images = torch.randint(256, (4, 3, 8, 8), dtype=torch.uint8)
    before, after = make_transforms(["crop", "flip", "trivial_augment", "cutout", "flip"])
    assert before is not None
    changed = before(images)
    assert changed.dtype == torch.uint8
    assert after(changed.float() / 255).dtype == torch.float32
    alone, rest = make_transforms([])
    assert alone is None
    assert torch.equal(rest(images), images)


def test_an_unknown_transform_is_named() -> None:
    with pytest.raises(InputError, match="got 'cutuot'; did you mean 'cutout'"):
        make_transforms(["crop", "cutuot"])


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_transforms_run_in_the_order_of_the_list(order: tuple[int, ...]) -> None:
    steps = [lambda x: x + 3, lambda x: 2 * x, lambda x: x**2]
    value = 5.0
    for place in order:
        value = steps[place](value)
    assert InOrder([steps[place] for place in order])(torch.tensor(5.0)).item() == value


def test_options_left_out_are_the_class_defaults() -> None:
    (crop,) = make_transforms(["crop"])[0].transforms
    assert isinstance(crop, Crop)
    assert crop.share == Crop().share


def test_a_mixer_knows_the_counts_and_the_epochs() -> None:
    remix = make_mixer(NamedConfig(name="remix", options={"kappa": 2.0}), [30, 10, 2], epochs=4)
    assert (remix.counts.tolist(), remix.kappa) == ([30, 10, 2], 2.0)
    cmo = make_mixer(NamedConfig(name="cmo"), [30, 10, 2], epochs=20)
    resting = []
    for epoch in range(1, 21):
        cmo.set_epoch(epoch)
        resting += [epoch] if cmo.resting else []
    assert resting == [1, 2, 3, 18, 19, 20]
    with pytest.raises(InputError, match="did you mean 'mixup'"):
        make_mixer(NamedConfig(name="mixpu"), [3, 1], epochs=1)


@pytest.mark.parametrize(
    ("fields", "number"),
    [
        ({"name": "nt_xent"}, 2),
        ({"name": "nt_xent", "views": 4}, 4),
        ({"name": "nt_xent", "weight": 0.0}, 0),
        ({"name": "center", "views": 0}, 0),
        ({}, 0),
    ],
)
def test_views_are_made_for_losses_that_look_at_them(fields: dict[str, object], number: int) -> None:
    views = make_views(AuxiliaryConfig(**fields))
    if not number:
        assert views is None
        return
    assert isinstance(views, SimCLRViews)
    images: Tensor = torch.zeros(5, 3, 8, 8, dtype=torch.uint8)
    assert views(images).shape == (number, 5, 3, 8, 8)
