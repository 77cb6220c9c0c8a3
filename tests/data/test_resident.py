import numpy as np
import pytest
import torch
import torchvision.transforms.v2.functional as tvf
from PIL import Image

from tailgrad.checks import InputError
from tailgrad.data import default_size, load_images, open_source
from tailgrad.data.resize import resize


def of(*shapes: tuple[int, int]):
    """A source with one random image of each shape, two classes."""
    random = np.random.RandomState(0)
    images = [random.randint(0, 256, (*shape, 3)).astype(np.uint8) for shape in shapes]
    return open_source((images, [k % 2 for k in range(len(images))]))


def test_images_come_in_the_order_asked_for():
    source = of(*[(8, 8)] * 40)
    order = np.random.RandomState(1).permutation(40)
    images = load_images(source, order, (8, 8))
    assert images.dtype == torch.uint8
    assert images.is_contiguous()
    wanted = np.stack([source.items.load(i).transpose(2, 0, 1) for i in order])
    assert np.array_equal(images.numpy(), wanted)
    assert torch.equal(load_images(source, [int(order[5])], (8, 8))[0], images[5])
    assert load_images(source, [], (8, 8)).shape == (0, 3, 8, 8)


@pytest.mark.parametrize("size", [(10, 20), (64, 48), (37, 11)])
def test_resizing_is_antialiased_bilinear(size):
    pixels = of((40, 30), (9, 9)).items.load(0)
    tensor = torch.from_numpy(pixels).permute(2, 0, 1).float()
    reference = tvf.resize(tensor, list(size), tvf.InterpolationMode.BILINEAR, antialias=True)
    difference = (torch.from_numpy(resize(pixels, size).copy()).permute(2, 0, 1) - reference).abs()
    assert difference.max() <= 1.01


def test_enlarging_by_a_whole_number_is_bilinear():
    ramp = np.repeat(np.array([[0, 100]], np.uint8)[..., None], 3, axis=2)
    # The eight new pixel centres lie at -3/8, -1/8, 1/8, ..., 11/8 of the way between the two old ones.
    wanted = 100 * np.clip((np.arange(8) * 2 - 3) / 8, 0, 1)
    assert np.abs(resize(ramp, (1, 8))[0, :, 0] - wanted).max() <= 0.5


@pytest.mark.parametrize("shape", [(40, 100), (100, 40), (64, 64)])
def test_crop_keeps_the_aspect_ratio_and_the_middle(shape):
    pixels = of(shape, (9, 9)).items.load(0)
    side = min(shape)
    top, left = (shape[0] - side) // 2, (shape[1] - side) // 2
    middle = pixels[top : top + side, left : left + side]
    # At the edge of the part the filter still sees the pixels beyond.
    cropped, wanted = resize(pixels, (20, 20), "crop"), resize(middle, (20, 20))
    assert np.abs(cropped.astype(int) - wanted)[1:-1, 1:-1].max() <= 1
    assert np.array_equal(resize(pixels, (side, side), "crop"), middle)


@pytest.mark.parametrize(("short", "side"), [(29, 112), (116, 224), (450, 224), (11, 299)])
def test_crop_of_sides_whose_quotient_is_rounded_up(short, side):
    line = np.random.RandomState(0).randint(0, 256, (short, 1, 3)).astype(np.uint8)
    wide = np.broadcast_to(line, (short, 3 * short, 3))  # the part beyond the middle is as the middle is
    wanted = resize(wide[:, :short], (side, side)).astype(int)
    assert np.abs(resize(wide, (side, side), "crop") - wanted).max() <= 1
    tall = np.ascontiguousarray(wide.transpose(1, 0, 2))
    assert np.abs(resize(tall, (side, side), "crop") - wanted.transpose(1, 0, 2)).max() <= 1


def test_crop_to_another_ratio():
    pixels = of((60, 60), (9, 9)).items.load(0)
    assert np.array_equal(resize(pixels, (30, 60), "crop"), pixels[15:45])


def test_modes_agree_where_the_ratio_does():
    pixels = of((40, 60), (9, 9)).items.load(0)
    assert np.array_equal(resize(pixels, (20, 30), "crop"), resize(pixels, (20, 30)))


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((8, 8), (32, 32)),
        ((40, 24), (80, 48)),
        ((32, 32), (32, 32)),
        ((28, 28), (56, 56)),
        ((96, 33), (96, 33)),
        ((97, 20), (128, 128)),
        ((1, 90), (32, 2880)),
    ],
)
def test_default_size_of_equal_images(shape, size):
    assert default_size(of(shape, shape), 128) == size


def test_default_size_of_unequal_images():
    assert default_size(of((8, 8), (8, 8), (8, 9)), 224) == (224, 224)


@pytest.fixture
def damaged(tmp_path):
    for k in ("a", "b"):
        (tmp_path / k).mkdir()
        for i in range(4):
            Image.new("L", (8, 8), i).save(tmp_path / k / f"{i}.png")
            (tmp_path / k / f"x{i}.png").write_bytes(b"text" * i)
    return open_source(tmp_path)


def test_five_of_the_unreadable_images_are_named(damaged):
    with pytest.raises(
        InputError, match=r"got 8 that are not .*; and 3 more.*data\.skip_unreadable=true"
    ) as caught:
        load_images(damaged, range(16), (8, 8))
    named = [name for name in (f"{k}/x{i}.png" for k in "ab" for i in range(4)) if name in str(caught.value)]
    assert named == ["a/x0.png", "a/x1.png", "a/x2.png", "a/x3.png", "b/x0.png"]


def test_unreadable_images_do_not_matter_until_they_are_asked_for(damaged):
    assert default_size(damaged, 128) == (32, 32)
    assert load_images(damaged, [0, 1, 8, 9], (8, 8))[:, 0, 0, 0].tolist() == [0, 1, 0, 1]


def test_nothing_readable_at_all(tmp_path):
    for k in ("a", "b"):
        (tmp_path / k).mkdir()
        (tmp_path / k / "1.png").write_bytes(b"")
    assert default_size(open_source(tmp_path), 64) == (64, 64)


@pytest.mark.parametrize(("size", "mode"), [((0, 8), "squash"), ((8, -1), "squash"), ((8, 8), "sqash")])
def test_wrong_arguments(size, mode):
    with pytest.raises(InputError, match=r"size must be|did you mean 'squash'"):
        load_images(of((8, 8), (8, 8)), [0], size, mode=mode)
