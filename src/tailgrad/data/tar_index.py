"""Where the members of a tar lie, found in one pass over its headers; nothing is ever extracted."""

import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

from tailgrad.checks import InputError

_BLOCK = 512
MAX_SMALL = 2**20
"""Largest member that is read while indexing (a label), in bytes."""


class Member(NamedTuple):
    """A regular file inside a tar.

    Args:
        key: its path up to the first dot of its name; members of one sample share it.
        kind: what follows the key, in lower case, such as ``.jpg``.
        offset: where its bytes begin in the tar.
        size: how many there are.

    Example:
        >>> Member("a/1", ".jpg", 512, 100).kind
        '.jpg'
    """

    key: str
    kind: str
    offset: int
    size: int


def members(file: Path, name: str) -> Iterator[Member]:
    """The regular files of an uncompressed tar, in order; links and devices are passed over.

    Args:
        file: the tar.
        name: what to call it in an error.

    Raises:
        InputError: no tar, a compressed one, one that is cut short or damaged, a member whose name leads out
            of the archive.

    Example:
        >>> import io, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with tarfile.open(f"{folder}/a.tar", "w") as tar:
        ...         info = tarfile.TarInfo("cat/1.JPG")
        ...         info.size = 3
        ...         tar.addfile(info, io.BytesIO(b"xyz"))
        ...     [(one.key, one.kind, one.size) for one in members(Path(f"{folder}/a.tar"), "a.tar")]
        [('cat/1', '.jpg', 3)]
    """
    try:
        with tarfile.open(file, "r:") as tar:
            yield from _walk(tar, file, name)
    except InputError:
        raise
    # Headers from strangers make tarfile raise almost anything, endless recursion included.
    except (tarfile.TarError, OSError, ValueError, OverflowError, MemoryError, RecursionError) as error:
        raise InputError(
            f"{name!r} must be a whole, uncompressed tar, got: {error or type(error).__name__}; fetch it "
            "again, or decompress it"
        ) from error


def _walk(tar: tarfile.TarFile, file: Path, name: str) -> Iterator[Member]:
    before, length = -1, file.stat().st_size
    while (info := tar.next()) is not None:
        # It would keep every header, half a kilobyte each.
        tar.members = []  # type: ignore[attr-defined]  # typeshed leaves it out
        if not (before < info.offset and info.size >= 0 and info.offset_data + info.size <= length):
            raise InputError(
                f"member {info.name!r} of {name!r} must lie inside the file after the one before, got offset "
                f"{info.offset_data} and {info.size} bytes in {length}; fetch the file again"
            )
        before = info.offset
        if info.isreg() and not info.issparse():
            yield _member(info, name)
    with file.open("rb") as stream:
        _check_end(stream, tar.offset, name)


def _member(info: tarfile.TarInfo, name: str) -> Member:
    parts = info.name.split("/")
    if info.name.startswith("/") or ".." in parts or not info.name.isprintable() or "\\" in info.name:
        raise InputError(
            f"members of {name!r} must have plain relative names, got {info.name!r}; nothing was extracted: "
            "do not unpack this file, and ask where it comes from"
        )
    stem, _, kind = parts[-1].partition(".")
    key = "/".join([*(part for part in parts[:-1] if part != "."), stem])
    return Member(key, f".{kind.lower()}", info.offset_data, info.size)


def _check_end(stream: IO[bytes], offset: int, name: str) -> None:
    """A tar ends with blocks of zeros; ``tarfile`` takes damage in the middle for the end as well."""
    stream.seek(offset)
    block = stream.read(_BLOCK)
    if block != bytes(_BLOCK):
        what = "no end of archive" if len(block) < _BLOCK else "a damaged header"
        raise InputError(
            f"{name!r} must be a whole tar, got {what} at byte {offset}; it was cut short or changed: fetch "
            "it again"
        )


def small(stream: IO[bytes], member: Member, place: str) -> bytes:
    """The bytes of a small member, such as a label.

    Raises:
        InputError: it is larger than ``MAX_SMALL``.

    Example:
        >>> import io
        >>> small(io.BytesIO(b"..17"), Member("1", ".cls", 2, 2), "1.cls")
        b'17'
    """
    if member.size > MAX_SMALL:
        raise InputError(
            f"{place} must have at most {MAX_SMALL} bytes, got {member.size}; a label needs a few"
        )
    stream.seek(member.offset)
    return stream.read(member.size)
