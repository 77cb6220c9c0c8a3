"""WebDataset shards: tars whose members are grouped by key, read by byte offset and never extracted."""

import json
from array import array
from collections.abc import Iterator, Sequence
from io import BytesIO
from itertools import groupby
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tailgrad.checks import InputError
from tailgrad.data.decode import UnreadableImage, decode, header
from tailgrad.data.files import EXTENSIONS
from tailgrad.data.labels import class_indices
from tailgrad.data.parts import PARTS, part_in
from tailgrad.data.source import Source, brought_split, safe_name
from tailgrad.data.tar_index import Member, members, small


class _Sample(NamedTuple):
    key: str
    image: Member
    label: object


class ShardImages:
    """Encoded images inside tars, by their byte offsets.

    A shard is opened for every image anew: nothing is shared between threads or processes.

    Args:
        files: the shards.
        shard: shard of each image, [N].
        offset: where its bytes begin, [N].
        size: how many there are, [N].
        names: what each is called, N.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as name:
        ...     file = Path(name) / "a.tar"
        ...     _ = file.write_bytes(b"..image")
        ...     ShardImages([file], [0], [2], [5], ["a.tar/1.jpg"]).stored(0)
        b'image'
    """

    def __init__(
        self,
        files: Sequence[Path],
        shard: Sequence[int],
        offset: Sequence[int],
        size: Sequence[int],
        names: Sequence[str],
    ) -> None:
        self._files, self._names = tuple(files), tuple(names)
        self._shard = np.array(shard, dtype=np.int32)
        self._span = np.array([offset, size], dtype=np.int64)

    def __len__(self) -> int:
        return len(self._names)

    def load(self, i: int) -> NDArray[np.uint8]:
        """The upright image i, uint8 [H, W, 3]."""
        return decode(self.stored(i), self._names[i])

    def reduced(self, i: int, size: tuple[int, int]) -> NDArray[np.uint8]:
        """Image i, decoded at a smaller scale where that leaves enough for ``size``."""
        return decode(self.stored(i), self._names[i], size)

    def name(self, i: int) -> str:
        """Shard, key and kind, such as ``train-000.tar/n01440764/1.jpg``."""
        return self._names[i]

    def stored(self, i: int) -> bytes:
        """The encoded image i."""
        offset, size = self._span[:, i].tolist()
        try:
            with self._files[self._shard[i]].open("rb", buffering=0) as file:
                file.seek(offset)
                data: bytes = file.read(size)
        except OSError as error:
            raise UnreadableImage(self._names[i], error.strerror or str(error)) from error
        if len(data) < size:
            raise UnreadableImage(self._names[i], f"{len(data)} of {size} bytes; the shard was cut short")
        return data

    def format(self, i: int) -> str:
        """Format of image i."""
        return header(BytesIO(self.stored(i)), self._names[i])[0]

    def size(self, i: int) -> tuple[int, int]:
        """Upright (height, width) of image i."""
        return header(BytesIO(self.stored(i)), self._names[i])[1]


def shards_in(folder: Path) -> list[Path]:
    """The shards of a folder: tars in a folder without folders, or in folders named after parts.

    Example:
        >>> shards_in(Path("missing"))
        []
    """
    folders = [one for one in folder.glob("*/") if one.is_dir() and not one.name.startswith(".")]
    if not folders:
        return sorted(folder.glob("*.tar"))
    parts = [one for one in folders if one.name.lower() in PARTS]
    return sorted(file for one in parts for file in one.glob("*.tar"))


def open_shards(files: Sequence[Path], root: Path, label_field: str | None = None) -> Source:
    """Open WebDataset shards: one sample a key, an image (``.jpg``, ``.png``, ...) with its class.

    The class is the text of a member ``.cls`` (an integer or a name), else the field ``label`` of a member
    ``.json``. The index of byte offsets is made in one pass over the headers; images are read from the tars
    where they lie. Names of shards, or of their folders, that hold train, val or test give the split.

    Args:
        files: the shards, at least one.
        root: what their names are relative to; its name becomes that of the source.
        label_field: the field of ``.json`` members that is the class, also where there is a ``.cls``.

    Raises:
        InputError: a tar that is compressed, cut short or damaged, or has a member whose name leads outside;
            a sample without a class, a key that comes twice, no images.

    Example:
        >>> import io, tarfile, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with tarfile.open(f"{folder}/train-0.tar", "w") as tar:
        ...         for name, data in (("1.png", b"image"), ("1.cls", b"dog")):
        ...             info = tarfile.TarInfo(name)
        ...             info.size = len(data)
        ...             tar.addfile(info, io.BytesIO(data))
        ...     source = open_shards([Path(folder) / "train-0.tar"], Path(folder))
        >>> source.items.name(0), source.class_names
        ('train-0.tar/1.png', ('dog',))
    """
    shard, offset, size = array("i"), array("q"), array("q")
    names: list[str] = []
    values: list[object] = []
    parts: list[str] = []
    ignored: list[str] = []
    for s, file in enumerate(files):
        name = file.relative_to(root).as_posix()
        for sample in _samples(file, name, label_field, ignored):
            shard.append(s)
            offset.append(sample.image.offset)
            size.append(sample.image.size)
            names.append(f"{name}/{sample.key}{sample.image.kind}")
            values.append(sample.label)
            parts.append(part_in(name))
    if not names:
        raise InputError(
            f"shards must hold images, got none in {len(files)} tars such as {files[0].name!r}; write "
            "samples of a .jpg and a .cls member with the same key"
        )
    labels, class_names = class_indices(values, where=names.__getitem__)
    return Source(
        name=safe_name(root.resolve().name if len(files) > 1 else f"{root.resolve().name}-{files[0].stem}"),
        items=ShardImages(files, shard, offset, size, names),
        labels=labels,
        class_names=class_names,
        given=brought_split(parts),
        ignored=tuple(ignored),
    )


def _samples(file: Path, name: str, field: str | None, ignored: list[str]) -> Iterator[_Sample]:
    """Samples of one shard: neighbouring members with one key."""
    seen: set[str] = set()
    with _opened(file, name) as stream:
        for key, together in groupby(members(file, name), key=lambda member: member.key):
            by_kind = {member.kind: member for member in together}
            image = next((member for kind, member in by_kind.items() if kind in EXTENSIONS), None)
            if image is None:
                ignored.append(f"{name}/{key}")
                continue
            if key in seen:
                raise InputError(
                    f"members of one sample must lie together in {name!r}, got the key {key!r} again; write "
                    "the shard sorted by name"
                )
            seen.add(key)
            yield _Sample(key, image, _label(stream, by_kind, f"{name}/{key}", field))


def _opened(file: Path, name: str) -> IO[bytes]:
    try:
        return file.open("rb")
    except OSError as error:
        raise InputError(f"shard {name!r} must be readable, got: {error}; check its permissions") from error


def _label(stream: IO[bytes], by_kind: dict[str, Member], place: str, field: str | None) -> object:
    if ".cls" in by_kind and field is None:
        return _text(small(stream, by_kind[".cls"], f"{place}.cls"), f"{place}.cls")
    if ".json" in by_kind:
        return _field(small(stream, by_kind[".json"], f"{place}.json"), f"{place}.json", field or "label")
    wanted = f"a .json member with {field!r}" if field else "a .cls member, or a .json one with 'label'"
    raise InputError(f"sample {place!r} must have {wanted}, got {', '.join(by_kind)}; add its class")


def _text(data: bytes, place: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise InputError(f"{place} must be text in UTF-8, got: {error}; write the class as text") from error


def _field(data: bytes, place: str, field: str) -> object:
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{place} must be JSON, got: {error}; write it anew") from error
    value = content.get(field) if isinstance(content, dict) else None
    if not isinstance(value, str | int) or isinstance(value, bool):
        raise InputError(
            f"{place} must hold a class (an integer or a name) in {field!r}, got {str(content)[:80]!r}; name "
            "the field with data.label_column"
        )
    return value
