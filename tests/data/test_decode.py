import io
import pickle
import struct
import threading
import warnings
import zlib

import numpy as np
import pytest
from PIL import ExifTags, Image

from tailgrad.checks import InputError
from tailgrad.data import MAX_PIXELS, UnreadableImage, open_source, unreadable
from tailgrad.data.decode import _quiet, decode, header, to_rgb

COLOURS = np.random.RandomState(0).randint(0, 256, (6, 9, 3)).astype(np.uint8)

# What a viewer must do with the stored pixels for each value of the EXIF orientation tag.
UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a),
}


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png_of_size(width: int, height: int) -> bytes:
    """A small file whose header announces any size."""

    def chunk(body: bytes) -> bytes:
        return struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))

    head = chunk(b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT" + zlib.compress(bytes(9))) + chunk(b"IEND")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_orientation_is_applied_to_pixels_and_size(kind, orientation):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encode(Image.fromarray(COLOURS), kind, exif=exif, **options)
    wanted = UPRIGHT[orientation](COLOURS)
    assert np.array_equal(decode(data, "x"), wanted)
    assert header(io.BytesIO(data), "x") == (kind, wanted.shape[:2])


@pytest.mark.parametrize("orientation", [1, 6])
def test_orientation_of_jpeg(orientation):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    pixels = np.repeat(np.repeat(COLOURS, 16, 0), 16, 1)
    data = encode(Image.fromarray(pixels), "JPEG", exif=exif, quality=100, subsampling=0)
    wanted = UPRIGHT[orientation](pixels)
    assert np.abs(decode(data, "x").astype(int) - wanted).max() < 12
    assert header(io.BytesIO(data), "x") == ("JPEG", wanted.shape[:2])


def test_damaged_exif_leaves_the_pixels():
    data = encode(Image.fromarray(COLOURS), "WEBP", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff", lossless=True)
    assert np.array_equal(decode(data, "x"), COLOURS)
    assert header(io.BytesIO(data), "x")[1] == (6, 9)


def test_transparency_shows_white():
    alpha = np.full((6, 9, 1), 255, np.uint8)
    alpha[0, 0], alpha[0, 1] = 0, 51
    pixels = decode(encode(Image.fromarray(np.concatenate([COLOURS, alpha], 2)), "PNG"), "x")
    assert pixels[0, 0].tolist() == [255, 255, 255]
    assert np.abs(pixels[0, 1] - (0.2 * COLOURS[0, 1] + 0.8 * 255)).max() <= 1
    assert np.array_equal(pixels[1:], COLOURS[1:])


def test_grey_with_alpha():
    image = Image.fromarray(np.array([[[10, 255], [10, 0]]], np.uint8), "LA")
    assert decode(encode(image, "PNG"), "x").tolist() == [[[10] * 3, [255] * 3]]


@pytest.mark.parametrize("transparency", [None, 1, bytes([255, 0])])
def test_palette(transparency):
    image = Image.fromarray(np.array([[0, 1]], np.uint8))
    image.putpalette([1, 2, 3, 40, 50, 60])
    options = {} if transparency is None else {"transparency": transparency}
    wanted = [40, 50, 60] if transparency is None else [255, 255, 255]
    assert decode(encode(image, "PNG", **options), "x").tolist() == [[[1, 2, 3], wanted]]


def test_grey_and_bilevel():
    assert decode(encode(Image.new("L", (2, 1), 77), "PNG"), "x").tolist() == [[[77] * 3] * 2]
    assert decode(encode(Image.new("1", (2, 1), 1), "PNG"), "x").tolist() == [[[255] * 3] * 2]


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_grey_keeps_its_range(kind):
    values = np.array([[0, 257, 128, 129, 32896, 65535]], np.uint16)
    pixels = decode(encode(Image.fromarray(values), kind), "x")
    assert pixels[0, :, 0].tolist() == [0, 1, 0, 1, 128, 255]
    assert (pixels == pixels[..., :1]).all()


def test_32_bit_pixels_of_unknown_range_are_refused():
    assert to_rgb(Image.fromarray(np.array([[65535]], np.int32)))[0, 0, 0] == 255
    for values in (np.array([[65536]], np.int32), np.array([[0.5]], np.float32)):
        with pytest.raises(UnreadableImage, match="range"):
            decode(encode(Image.fromarray(values), "TIFF"), "x")


def test_cmyk():
    image = Image.merge("CMYK", [Image.new("L", (8, 8), v) for v in (255, 0, 0, 0)])
    assert np.abs(decode(encode(image, "TIFF"), "x")[0, 0].astype(int) - [0, 255, 255]).max() <= 1


@pytest.mark.parametrize("kind", ["GIF", "MPO", "TIFF"])
def test_first_of_several_frames(kind):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ((200, 0, 0), (0, 200, 0))]
    data = encode(frames[0], kind, save_all=True, append_images=frames[1:])
    assert np.abs(decode(data, "x").astype(int) - [200, 0, 0]).max() <= 3
    assert header(io.BytesIO(data), "x") == (kind, (8, 8))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"])
def test_truncated(kind):
    noise = np.random.RandomState(1).randint(0, 256, (64, 64, 3)).astype(np.uint8)
    data = encode(Image.fromarray(noise), kind)
    with pytest.raises(UnreadableImage, match=r"image 'cat/1\.x' must be readable") as caught:
        decode(data[: len(data) // 2], "cat/1.x")
    assert caught.value.name == "cat/1.x"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "an empty file"),
        (b"hello, this is a text\n" * 9, "198 bytes that are no "),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "bytes that are no "),
        (b"\xff\xd8\xff\xe0" + bytes(200), "image"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "image"),
    ],
)
@pytest.mark.parametrize("read", [decode, lambda data, name: header(io.BytesIO(data), name)])
def test_what_is_no_image(read, data, reason):
    with pytest.raises(UnreadableImage, match=reason) as caught:
        read(data, "notes.jpg")
    assert "'notes.jpg'" in str(caught.value)
    assert "skip_unreadable" in str(caught.value)


@pytest.mark.parametrize("pillow_checks", [True, False])
def test_decompression_bomb(monkeypatch, pillow_checks):
    if not pillow_checks:
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    for read in (decode, lambda data, name: header(io.BytesIO(data), name)):
        with pytest.raises(UnreadableImage, match=f"900000000 pixels.*limit of {MAX_PIXELS}"):
            read(png_of_size(30_000, 30_000), "bomb.png")


def test_large_image_below_the_limit_gives_no_warning():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert header(io.BytesIO(png_of_size(10_000, 10_000) + bytes(4_000_000)), "x") == (
            "PNG",
            (10_000, 10_000),
        )
    assert caught == []


def test_filters_are_restored_after_overlapping_threads():
    before = list(warnings.filters)
    inside, leave = threading.Event(), threading.Event()

    def first() -> None:
        with _quiet:
            inside.set()
            leave.wait(5)

    thread = threading.Thread(target=first)
    thread.start()
    inside.wait(5)
    with _quiet:
        leave.set()
        thread.join()
        warnings.warn_explicit("x", UserWarning, "y", 1, module="PIL.Image")
    assert list(warnings.filters) == before
    with pytest.warns(UserWarning, match="x"):
        warnings.warn_explicit("x", UserWarning, "y", 1, module="PIL.Image")


def test_error_survives_a_worker_process():
    error = pickle.loads(pickle.dumps(UnreadableImage("a.jpg", "broken")))
    assert (error.name, error.reason) == ("a.jpg", "broken")
    assert isinstance(error, InputError)


def test_unreadable_names_each(tmp_path):
    good = encode(Image.fromarray(COLOURS), "PNG")
    for k in ("cat", "dog"):
        (tmp_path / k).mkdir()
        (tmp_path / k / "good.png").write_bytes(good)
    (tmp_path / "cat" / "empty.png").write_bytes(b"")
    (tmp_path / "dog" / "cut.png").write_bytes(good[:80])
    source = open_source(tmp_path)
    found = unreadable(source)
    assert [source.items.name(i) for i, _ in found] == ["cat/empty.png", "dog/cut.png"]
    assert "empty" in found[0][1]
