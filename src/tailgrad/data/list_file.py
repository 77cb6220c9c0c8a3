"""List files of the field, ``relative/path.jpg 17`` a line: ImageNet-LT, Places-LT, iNaturalist18."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tailgrad.checks import InputError
from tailgrad.data.files import ImageFiles, existing
from tailgrad.data.labels import class_indices
from tailgrad.data.parts import part_in, without_part
from tailgrad.data.source import Source, brought_split, safe_name


class _Entry(NamedTuple):
    file: Path
    line: int
    name: str
    label: int

    @property
    def place(self) -> str:
        return f"line {self.line} of {self.file.name}"


def open_list(file: Path, root: Path | None = None) -> Source:
    r"""Open a list of images with a class number each, and the lists of its other parts beside it.

    A line is a path, a space or tab, and an integer; paths may hold spaces. Where the name holds train, val
    or test, files of the same name with another of these words are opened with it and give the split.
    Classes are numbered without gaps over all parts.

    Args:
        file: one of the lists, UTF-8.
        root: folder that the paths are relative to; by default the folder of the list.

    Raises:
        InputError: a list that cannot be read, an empty one, a line without both, a label that is no integer
            or comes after a gap, an image or a root that is missing; the line is named.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as name:
        ...     Image.new("L", (4, 4)).save(Path(name) / "1.png")
        ...     for part in ("train", "test"):
        ...         _ = (Path(name) / f"Toy_LT_{part}.txt").write_text("1.png 0\n1.png 1\n")
        ...     source = open_list(Path(name) / "Toy_LT_train.txt")
        >>> source.given, source.class_names
        (('test', 'test', 'train', 'train'), ('0', '1'))
    """
    files, folder = parts_beside(file), image_root(file, root)
    entries = [entry for one in files for entry in _entries(one)]
    names = [existing(folder, entry.name, entry.place) for entry in entries]
    labels, class_names = class_indices(
        [entry.label for entry in entries], where=lambda i: f"{entries[i].place} ({names[i]!r})"
    )
    return Source(
        name=list_name(file),
        items=ImageFiles(folder, names),
        labels=labels,
        class_names=class_names,
        given=brought_split([part_in(entry.file.name) for entry in entries]),
    )


def parts_beside(file: Path) -> list[Path]:
    """The file, with those beside it that are named after another part of the same set, in order of name.

    Example:
        >>> parts_beside(Path("missing/list.txt"))
        [PosixPath('missing/list.txt')]
    """
    if not part_in(file.name):
        return [file]
    common = without_part(file.name)
    return sorted(one for one in file.parent.iterdir() if without_part(one.name) == common and one.is_file())


def image_root(file: Path, root: Path | None) -> Path:
    """The folder that the paths of a list are relative to.

    Raises:
        InputError: the folder asked for does not exist.

    Example:
        >>> image_root(Path("lists/a.txt"), None).as_posix()
        'lists'
    """
    if root is not None and not root.is_dir():
        raise InputError(
            f"data.root must be the folder that the paths of {file.name} are relative to, got {str(root)!r}, "
            "which is no folder; correct it"
        )
    return file.parent if root is None else root


def list_name(file: Path) -> str:
    """Short name of the set that a list belongs to, the same whichever of its parts was named.

    Example:
        >>> list_name(Path("lists/ImageNet_LT_train.txt"))
        'lists-ImageNet_LT'
    """
    stem = without_part(file.stem).replace("*", "").strip("-_. ")
    return safe_name(f"{file.resolve().parent.name}-{stem}")


def _entries(file: Path) -> Iterator[_Entry]:
    found = False
    try:
        with file.open(encoding="utf-8-sig") as stream:
            for number, text in filter(lambda line: line[1].strip(), enumerate(stream, start=1)):
                found = True
                yield _entry(file, number, text.strip())
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"list {str(file)!r} must be a text in UTF-8, got: {error}; save it so") from error
    if not found:
        raise InputError(f"list {str(file)!r} must hold a line for each image, got none; fill or remove it")


def _entry(file: Path, number: int, text: str) -> _Entry:
    name, _, label = (text.replace("\t", " ")).rpartition(" ")
    if not name:
        raise InputError(
            f"line {number} of {file.name} must be a path, a space and a class number, got {_brief(text)}; "
            "complete it"
        )
    if not (label.isascii() and label.isdecimal() and len(label) < 10):
        raise InputError(
            f"label on line {number} of {file.name} must be an integer from 0 on, got {_brief(label)} after "
            f"{_brief(name)}; number the classes, or use a CSV list, which takes names"
        )
    return _Entry(file, number, name, int(label))


def _brief(text: str) -> str:
    return repr(text if len(text) <= 80 else f"{text[:77]}...")
