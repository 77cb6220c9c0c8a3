"""From encoded bytes to upright 8-bit RGB pixels, or one error that names the file."""

import io
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from os import cpu_count
from typing import IO, TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from tailgrad.checks import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tailgrad.data.source import Source

MAX_PIXELS = 178_956_970
"""Largest image that is decoded: the limit above which Pillow refuses (twice its ``MAX_IMAGE_PIXELS``)."""

_ALWAYS_FINE, _PIXELS_PER_BYTE = 40_000_000, 20
"""Pixels that any file may have, and how many more for each of its bytes: above is a decompression bomb."""

_MOST_SCANNED = 2**30
"""Pixels of a JPEG times the scans that make it up, each of which goes over all of them."""

# Naming the formats keeps Pillow from handing files to outside programs (EPS goes to Ghostscript). MPO is
# opened as JPEG.
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")
_WORKERS = min(8, cpu_count() or 1)


class UnreadableImage(InputError):  # noqa: N818 - says what it is about, as InputError says it is one
    """An image that cannot be decoded.

    Args:
        name: which image.
        reason: what is wrong with it.

    Example:
        >>> raise UnreadableImage("cats/1.jpg", "empty file")
        Traceback (most recent call last):
        ...
        tailgrad.data.decode.UnreadableImage: image 'cats/1.jpg' must be readable, got: empty file; ...
    """

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(
            f"image {name!r} must be readable, got: {reason}; replace or remove it, or pass over all such "
            "files with data.skip_unreadable=true"
        )
        self.name, self.reason = name, reason

    def __reduce__(self) -> tuple[type["UnreadableImage"], tuple[str, str]]:
        return UnreadableImage, (self.name, self.reason)


class _Quiet:
    """Keeps Pillow's warnings from users while any thread decodes.

    ``warnings.catch_warnings`` alone changes and restores the filters of all threads, each over the other.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._caught = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                self._caught = warnings.catch_warnings()
                self._caught.__enter__()
                warnings.filterwarnings("ignore", module=r"PIL\.")

    def __exit__(self, *exc: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._caught.__exit__(None, None, None)


_quiet = _Quiet()


@contextmanager
def _open(file: IO[bytes], name: str) -> "Iterator[Image.Image]":
    """The image, opened and known to be of bearable size; any fault inside becomes UnreadableImage."""
    try:
        with _quiet, Image.open(file, formats=_FORMATS) as image:
            pixels = image.width * image.height
            if pixels > MAX_PIXELS:  # Pillow checks too, unless a user switched its check off
                raise UnreadableImage(name, f"{pixels} pixels, over the limit of {MAX_PIXELS}")
            most = _ALWAYS_FINE + _PIXELS_PER_BYTE * _length(file)
            if pixels > most:
                raise UnreadableImage(name, f"{pixels} pixels in {_length(file)} bytes, a decompression bomb")
            yield image
    except UnreadableImage:
        raise
    except UnidentifiedImageError as error:
        size = file.seek(0, io.SEEK_END)
        reason = f"{size} bytes that are no {'/'.join(_FORMATS)} image" if size else "an empty file (0 bytes)"
        raise UnreadableImage(name, reason) from error
    except Exception as error:  # damaged files make Pillow's decoders raise almost anything
        raise UnreadableImage(name, f"{type(error).__name__}: {error}") from error


def _length(file: IO[bytes]) -> int:
    place = file.tell()
    try:
        return file.seek(0, io.SEEK_END)
    finally:
        file.seek(place)


def _check_scans(data: bytes, image: Image.Image, name: str) -> None:
    """Refuse a progressive JPEG of thousands of scans, a few bytes each."""
    scans = data.count(b"\xff\xda") if image.format in ("JPEG", "MPO") else 0
    if scans * image.width * image.height > _MOST_SCANNED:
        raise UnreadableImage(name, f"{image.width * image.height} pixels in {scans} scans")


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # a damaged EXIF block does not make the pixels unreadable
        return 1


def _upright(image: Image.Image) -> Image.Image:
    return image if _orientation(image) == 1 else ImageOps.exif_transpose(image)


def _from_16_bit(image: Image.Image) -> Image.Image:
    """The full range 0 ... 65535 mapped to 0 ... 255: round(v / 257)."""
    wide = np.asarray(image).astype(np.int64)
    if wide.min() < 0 or wide.max() > 65535:
        raise ValueError(f"grey values {wide.min()} ... {wide.max()} where 0 ... 65535 is the range")
    return Image.fromarray(((wide + 128) // 257).astype(np.uint8))


def to_rgb(image: Image.Image) -> NDArray[np.uint8]:
    """An image of any Pillow mode as upright pixels, uint8 [H, W, 3].

    Grey is repeated over the channels; 16-bit grey keeps its full range (65535 becomes 255); transparent
    parts show white, the page most pictures with transparency are drawn for, because the colour stored
    under full transparency is arbitrary. Colour profiles are not applied.

    Raises:
        ValueError: floating-point pixels, or 32-bit ones outside 0 ... 65535: their range is anyone's guess.

    Example:
        >>> to_rgb(Image.new("RGBA", (1, 1), (255, 0, 0, 0))).tolist()
        [[[255, 255, 255]]]
    """
    image.load()
    image = _upright(image)
    if image.mode == "F":
        raise ValueError(
            f"floating-point pixels (mode {image.mode!r}), whose range is not known; save 8 bits"
        )
    if image.mode.startswith("I"):
        image = _from_16_bit(image)
    elif image.has_transparency_data:
        page = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(page, image.convert("RGBA"))
    return np.array(image.convert("RGB"))


def decode(data: bytes, name: str, at_least: tuple[int, int] | None = None) -> NDArray[np.uint8]:
    """The pixels of an encoded image, uint8 [H, W, 3]; the first frame where there are several.

    Args:
        data: a BMP, GIF, JPEG, MPO, PNG, TIFF or WebP file.
        name: what to call the image in an error.
        at_least: (height, width) that will be resized to: a JPEG is then decoded at the smallest of scales
            1, 1/2, 1/4 and 1/8 that still has as many pixels on both sides.

    Raises:
        UnreadableImage: empty, truncated or damaged data, another format, more than ``MAX_PIXELS`` pixels.

    Example:
        >>> file = io.BytesIO()
        >>> Image.new("L", (3, 2), 7).save(file, "PNG")
        >>> pixels = decode(file.getvalue(), "grey.png")
        >>> pixels.shape, pixels[0, 0].tolist()
        ((2, 3, 3), [7, 7, 7])
    """
    with _open(io.BytesIO(data), name) as image:
        _check_scans(data, image, name)
        if at_least is not None:
            turned = image.format in ("JPEG", "MPO") and _orientation(image) in (5, 6, 7, 8)
            image.draft(None, at_least if turned else at_least[::-1])
        return to_rgb(image)


def header(file: IO[bytes], name: str) -> tuple[str, tuple[int, int]]:
    """Format and upright (height, width) of an encoded image, without decoding it where possible.

    Raises:
        UnreadableImage: no header of a known format, or one that announces too many pixels.

    Example:
        >>> file = io.BytesIO()
        >>> Image.new("L", (3, 2), 7).save(file, "BMP")
        >>> header(file, "grey.bmp")
        ('BMP', (2, 3))
    """
    with _open(file, name) as image:
        # Pillow reports a TIFF's upright size by itself; in a PNG the orientation may follow the pixels.
        may_turn = image.format != "TIFF" and image.width != image.height
        turned = may_turn and _orientation(image) in (5, 6, 7, 8)
        size = (image.width, image.height) if turned else (image.height, image.width)
        return image.format or "", size


def unreadable(source: "Source") -> list[tuple[int, str]]:
    """Items that cannot be decoded, with the reason; every item is tried.

    Example:
        >>> from tailgrad.data import open_source
        >>> unreadable(open_source("digits-lt"))
        []
    """

    def reason(i: int) -> str:
        try:
            source.items.load(i)
        except UnreadableImage as error:
            return error.reason
        return ""

    with _quiet, ThreadPoolExecutor(_WORKERS) as pool:
        return [(i, text) for i, text in enumerate(pool.map(reason, range(len(source.items)))) if text]
