import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import TensorDataset

from tailgrad.checks import InputError
from tailgrad.data import UnreadableImage, open_source
from tailgrad.data.pictures import to_pixels

PIXELS = np.random.RandomState(0).randint(0, 256, (4, 7, 9, 3)).astype(np.uint8)
LABELS = np.array([0, 1, 1, 0])


class Pairs:
    """A map-style dataset that gives whatever it was made of."""

    def __init__(self, images, labels, **extra):
        self.images, self.labels = images, labels
        vars(self).update(extra)

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        return self.images[i], self.labels[i]


def test_tensors_in_bfloat16_are_pixels():
    pixels = to_pixels(torch.tensor([[0.0, 0.5, 1.0]], dtype=torch.bfloat16), "row 0")
    assert pixels[0, :, 0].tolist() == [0, 128, 255]


def test_a_dataset_may_say_that_its_classes_have_no_names():
    assert open_source(Pairs(PIXELS, LABELS, classes=None)).class_names == ("0", "1")


@pytest.mark.parametrize(
    "images",
    [
        PIXELS,
        PIXELS / 255,
        (PIXELS / 255).astype(np.float32),
        PIXELS.transpose(0, 3, 1, 2),
        torch.from_numpy(PIXELS).permute(0, 3, 1, 2) / 255,
        list(PIXELS),
        [Image.fromarray(a) for a in PIXELS],
    ],
)
def test_every_layout_gives_the_same_source(images):
    for spec in ((images, LABELS), Pairs(images, LABELS), Pairs(images, torch.from_numpy(LABELS))):
        source = open_source(spec)
        assert all(np.array_equal(source.items.load(i), PIXELS[i]) for i in range(4))
        assert source.items.stored(2) == b"(7, 9, 3)" + PIXELS[2].tobytes()
        assert source.labels.tolist() == [0, 1, 1, 0]
        assert source.items.size(0) == (7, 9)
        assert (source.items.format(0), source.items.name(3)) == ("array", "row 3")


@pytest.mark.parametrize("shape", [(7, 9), (7, 9, 1), (1, 7, 9)])
def test_grey_is_repeated(shape):
    pixels = to_pixels(PIXELS[0, :, :, 0].reshape(shape), "x")
    assert np.array_equal(pixels, np.repeat(PIXELS[0, :, :, :1], 3, axis=2))


def test_narrow_images_are_taken_as_channels_last():
    image = PIXELS[0, :3, :, :]
    assert np.array_equal(to_pixels(image[:, :3], "x"), image[:, :3])


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.full((4, 4), 1.5), r"values 1\.5 \.\.\. 1\.5"),
        (np.full((4, 4), -0.1), "undo normalisation"),
        (np.full((4, 4), np.nan), "values nan"),
        (np.zeros((4, 4), np.int64), "type int64"),
        (np.zeros((4, 4, 4), np.uint8), r"shape \(4, 4, 4\)"),
        (np.zeros(16, np.uint8), r"shape \(16,\)"),
        (np.zeros((0, 4), np.uint8), r"shape \(0, 4\)"),
        (Image.new("F", (2, 2)), "floating-point"),
    ],
)
def test_what_is_no_image(image, message):
    with pytest.raises(UnreadableImage, match=rf"row 5.*{message}"):
        to_pixels(image, "row 5")


def test_text_labels_and_class_names():
    assert open_source((PIXELS, ["dog", "cat", "cat", "dog"])).class_names == ("cat", "dog")
    named = Pairs(PIXELS, LABELS, classes=["no", "yes", "never"])
    assert open_source(named).class_names == ("no", "yes", "never")
    assert open_source(named).counts == (2, 2, 0)


def test_targets_spare_the_images():
    class Lazy(Pairs):
        def __getitem__(self, i):
            raise AssertionError("an image was asked for")

    assert open_source(Lazy(PIXELS, None, targets=[1, 0, 1, 1])).labels.tolist() == [1, 0, 1, 1]


def test_targets_that_a_transform_changes_are_not_trusted():
    dataset = Pairs(PIXELS, [1 - k for k in LABELS], targets=LABELS, target_transform=lambda k: 1 - k)
    assert open_source(dataset).labels.tolist() == [1, 0, 0, 1]


def test_torch_dataset():
    dataset = TensorDataset(torch.zeros(3, 1, 4, 4), torch.tensor([0, 1, 0]))
    assert open_source(dataset).name == "TensorDataset"
    assert open_source(dataset).counts == (2, 1)


@pytest.mark.parametrize("labels", [[0, 1, 1], np.eye(4), 3])
def test_labels_that_do_not_fit(labels):
    with pytest.raises(InputError, match="labels must be one for each of 4 images"):
        open_source((PIXELS, labels))


def test_items_that_are_no_pairs():
    with pytest.raises(InputError, match=r"dataset\[0\] must be \(image, label\), got ndarray"):
        open_source(PIXELS)
    with pytest.raises(InputError, match=r"label of row 0 must be one class, got shape \(2,\)"):
        open_source(Pairs(PIXELS, np.eye(2)[LABELS]))


def test_a_dataset_that_fails_to_read_a_file():
    class Broken(Pairs):
        def __getitem__(self, i):
            if i == 2:
                raise OSError("image file is truncated")
            return super().__getitem__(i)

    source = open_source(Broken(PIXELS, LABELS, targets=LABELS), skip_unreadable=True)
    assert source.ignored == ("row 2",)
    assert len(source.items) == 3
    with pytest.raises(UnreadableImage, match=r"row 2.*truncated"):
        open_source(Broken(PIXELS, LABELS))
