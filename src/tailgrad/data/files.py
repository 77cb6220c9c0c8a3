"""Images that are files."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tailgrad.checks import InputError
from tailgrad.data.decode import UnreadableImage, decode, header

EXTENSIONS = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".mpo", ".bmp", ".tif", ".tiff", ".gif"}
)


class ImageFiles:
    """The items of a source whose images are files.

    Args:
        root: folder that the names are relative to.
        names: relative posix path of each image.

    Example:
        >>> ImageFiles(Path("photos"), ["cats/1.jpg"]).name(0)
        'cats/1.jpg'
    """

    def __init__(self, root: Path, names: Sequence[str]) -> None:
        self._root, self._names = root, tuple(names)

    def __len__(self) -> int:
        return len(self._names)

    def load(self, i: int) -> NDArray[np.uint8]:
        """The upright image i, uint8 [H, W, 3]."""
        return decode(self.stored(i), self._names[i])

    def reduced(self, i: int, size: tuple[int, int]) -> NDArray[np.uint8]:
        """Image i, decoded at a smaller scale where that leaves enough for ``size``."""
        return decode(self.stored(i), self._names[i], size)

    def name(self, i: int) -> str:
        """Relative posix path of image i."""
        return self._names[i]

    def stored(self, i: int) -> bytes:
        """The bytes of file i."""
        try:
            return (self._root / self._names[i]).read_bytes()
        except OSError as error:
            raise UnreadableImage(self._names[i], error.strerror or str(error)) from error

    def format(self, i: int) -> str:
        """Format of file i, by its header and not its extension."""
        return self._header(i)[0]

    def size(self, i: int) -> tuple[int, int]:
        """Upright (height, width) of image i."""
        return self._header(i)[1]

    def _header(self, i: int) -> tuple[str, tuple[int, int]]:
        try:
            file = (self._root / self._names[i]).open("rb")
        except OSError as error:
            raise UnreadableImage(self._names[i], error.strerror or str(error)) from error
        with file:
            return header(file, self._names[i])


def existing(folder: Path, path: str, place: str) -> str:
    """The relative posix path of a file that a list names.

    Args:
        folder: what the path is relative to.
        path: as it stands in the list.
        place: what to call the entry in an error.

    Raises:
        InputError: there is no such file.

    Example:
        >>> existing(Path("photos"), "1.jpg", "line 2 of list.csv")
        Traceback (most recent call last):
        ...
        tailgrad.checks.InputError: line 2 of list.csv must name an image file, got '1.jpg', which is ...
    """
    name = path.strip().replace("\\", "/")
    if not (name and _is_file(folder / name)):
        raise InputError(
            f"{place} must name an image file, got {name!r}, which is not in {str(folder)!r}; correct the "
            "path, or name the folder with data.root"
        )
    return name


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name too long for the file system, a folder that may not be entered
        return False


def find_images(images: Sequence[str | Path]) -> list[Path]:
    """The image files that paths name, in the order given; folders are searched and sorted.

    Args:
        images: files, or folders that are searched for images.

    Raises:
        InputError: a path does not exist, or there is no image.

    Example:
        >>> find_images(["nowhere"])
        Traceback (most recent call last):
        ...
        tailgrad.checks.InputError: images must be files or folders, got nowhere, which does not exist; ...
    """
    files: list[Path] = []
    for path in map(Path, images):
        if path.is_dir():
            files += sorted(p for p in path.rglob("*") if p.suffix.lower() in EXTENSIONS and p.is_file())
        elif path.is_file():
            files.append(path)
        else:
            raise InputError(
                f"images must be files or folders, got {path}, which does not exist; check the path"
            )
    if not files:
        raise InputError(f"images must hold at least one image, got {[str(p) for p in images]}; give files")
    return files
