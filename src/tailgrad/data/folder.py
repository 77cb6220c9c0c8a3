"""A folder of class folders, with ``train/ val/ test/`` above them or not."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tailgrad.checks import InputError
from tailgrad.data.files import EXTENSIONS, ImageFiles
from tailgrad.data.parts import PARTS
from tailgrad.data.source import Source, brought_split, safe_name


def open_folder(root: Path) -> Source:
    """Open a folder of class folders.

    Every image at any depth inside a class folder belongs to that class. Classes are in sorted order; a
    folder without images is no class. ``train/`` beside ``val/`` or ``test/`` (or nothing but such folders)
    is a split that the source brings. Hidden files, other files, images outside class folders and empty
    class folders are listed in ``ignored``. Linked folders are followed down to two levels.

    Args:
        root: the folder.

    Raises:
        InputError: the folder cannot be listed, holds no images, or only images without class folders.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as name:
        ...     for k in ("cat", "dog"):
        ...         (Path(name) / k).mkdir()
        ...         Image.new("L", (4, 4)).save(Path(name) / k / "1.png")
        ...     open_folder(Path(name)).class_names
        ('cat', 'dog')
    """
    images, ignored = _listing(root)
    split = _is_split({name.split("/")[0] for name in images if "/" in name})
    labelled = [name for name in images if _is_labelled(name, split)]
    _check(root, images, labelled)
    folders = [name.split("/") for name in labelled]
    classes = [parts[1 if split else 0] for parts in folders]
    names, labels = np.unique(classes, return_inverse=True)
    unlabelled = set(images).difference(labelled)
    return Source(
        name=safe_name(root.resolve().name),
        items=ImageFiles(root, labelled),
        labels=labels.astype(np.int64),
        class_names=tuple(str(name) for name in names),
        given=brought_split([PARTS[parts[0].lower()] if split else "" for parts in folders]),
        ignored=tuple(sorted([*ignored, *unlabelled])),
    )


def _listing(root: Path) -> tuple[list[str], list[str]]:
    """Relative posix paths of the images, and of everything passed over."""
    images: list[str] = []
    ignored: list[str] = []
    for name in _walk(root):
        is_image = Path(name).suffix.lower() in EXTENSIONS and not _hidden(name)
        (images if is_image else ignored).append(name)
    return sorted(images), ignored


def _hidden(name: str) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def _walk(root: Path) -> Iterator[str]:
    """Every file, and every folder that holds nothing (with a slash at its end)."""
    for folder, folders, files in os.walk(root, onerror=_refuse, followlinks=True):
        here = Path(folder).relative_to(root).parts
        folders[:] = [name for name in folders if _leads_on(Path(folder, name), len(here))]
        yield from ("/".join((*here, name)) for name in files)
        if here and not folders and not files:
            yield "/".join((*here, ""))


def _leads_on(folder: Path, depth: int) -> bool:
    """Whether to enter a folder: not a link far down or to a folder above, which could lead in circles."""
    if not folder.is_symlink():
        return True
    return depth < 2 and not folder.parent.resolve().is_relative_to(folder.resolve())


def _refuse(error: OSError) -> None:
    raise InputError(
        f"source folder must be readable, got {error.filename}: {error.strerror}; change its permissions"
    ) from error


def _is_split(tops: set[str]) -> bool:
    parts = {PARTS[name.lower()] for name in tops if name.lower() in PARTS}
    only_parts = all(name.lower() in PARTS for name in tops)
    return bool(parts) and (only_parts or ("train" in parts and len(parts) > 1))


def _is_labelled(name: str, split: bool) -> bool:
    top, *below = name.split("/")
    return len(below) > 1 and top.lower() in PARTS if split else len(below) > 0


def _check(root: Path, images: list[str], labelled: list[str]) -> None:
    if not images:
        raise InputError(
            f"source folder must hold images, got none in {str(root)!r}; put one folder of JPEG, PNG, WebP, "
            "MPO, BMP, TIFF or GIF files a class into it"
        )
    if not labelled:
        raise InputError(
            f"source folder must hold one folder a class, got {len(images)} images without class folders in "
            f"{str(root)!r} (such as {images[0]!r}); move each into a folder named after its class, or list "
            "them in a CSV with the columns path and label"
        )
