"""Images in the columns of parquet files."""

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tailgrad.checks import InputError
from tailgrad.data.decode import UnreadableImage, decode, header

MAX_GROUP_BYTES = 512 * 2**20
"""Largest row group of images that is read: a parquet file cannot be read in the middle of one."""

_CACHE_BYTES = 64 * 2**20
# One lock for all, at module level, so that the items themselves can be sent to worker processes; anew in
# each, since a thread of the parent may have held it.
_LOCK = threading.Lock()


def _new_lock() -> None:
    global _LOCK
    _LOCK = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_new_lock)


def group_sizes(file: Path, column: str | None = None) -> list[int]:
    """Rows of each row group of a parquet file.

    Args:
        file: the file.
        column: one whose groups will be read whole, and must therefore be of bearable size.

    Raises:
        InputError: a row group of more than ``MAX_GROUP_BYTES``.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as name:
        ...     pq.write_table(pa.table({"label": [1, 2, 3]}), Path(name) / "x.parquet", row_group_size=2)
        ...     group_sizes(Path(name) / "x.parquet")
        [2, 1]
    """
    metadata = pq.read_metadata(file)
    groups = [metadata.row_group(g) for g in range(metadata.num_row_groups)]
    rows = [group.num_rows for group in groups]
    if min(rows, default=0) < 0 or sum(rows) > file.stat().st_size:
        raise InputError(
            f"{file.name} must hold the rows that it announces, got {sum(rows)} rows of images in "
            f"{file.stat().st_size} bytes; fetch it again"
        )
    for g, group in enumerate(groups if column else ()):
        size = group.total_byte_size  # asking its columns one by one ends the process on some damaged files
        if size > MAX_GROUP_BYTES:
            raise InputError(
                f"row groups of images must have at most {MAX_GROUP_BYTES / 2**20:.0f} MiB, which are read "
                f"at once, got {size / 2**20:.0f} MiB in group {g} of {file.name} ({group.num_rows} rows); "
                "write it anew in groups of about 100 images (pyarrow: row_group_size=100)"
            )
    return rows


class ParquetImages:
    """Encoded images in a parquet column; row groups are read when needed, the last ones kept.

    In memory are the last row groups of each process, up to 64 MiB (one at least), never a whole file.

    Args:
        files: the files.
        column: the column, struct(bytes, path) or binary.

    Raises:
        InputError: as ``group_sizes``.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as name:
        ...     file = Path(name) / "train.parquet"
        ...     pq.write_table(pa.table({"image": [b"encoded"]}), file)
        ...     ParquetImages([file], "image").stored(0)
        b'encoded'
    """

    def __init__(self, files: Sequence[Path], column: str) -> None:
        self._files, self._column = tuple(files), column
        sizes = [group_sizes(file, column) for file in files]
        self._groups = [(f, g) for f, counts in enumerate(sizes) for g in range(len(counts))]
        self._ends = np.cumsum([n for counts in sizes for n in counts], dtype=np.int64)
        self._starts = np.cumsum([0, *(sum(counts) for counts in sizes)]).tolist()
        self._cache: OrderedDict[int, Any] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        """Without what was read: a worker process reads for itself."""
        return self.__dict__ | {"_cache": OrderedDict()}

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def load(self, i: int) -> NDArray[np.uint8]:
        """The upright image i, uint8 [H, W, 3]."""
        return decode(self.stored(i), self.name(i))

    def reduced(self, i: int, size: tuple[int, int]) -> NDArray[np.uint8]:
        """Image i, decoded at a smaller scale where that leaves enough for ``size``."""
        return decode(self.stored(i), self.name(i), size)

    def name(self, i: int) -> str:
        """File and row, such as ``train.parquet#12``."""
        f, _ = self._groups[self._group_of(i)]
        return f"{self._files[f].name}#{i - self._starts[f]}"

    def stored(self, i: int) -> bytes:
        """The encoded image i."""
        group = self._group_of(i)
        start = 0 if group == 0 else int(self._ends[group - 1])
        try:
            data = self._read(group)[i - start].as_py()
        except (OSError, pa.ArrowException, IndexError) as error:  # the file was removed or changed
            raise UnreadableImage(self.name(i), str(error)) from error
        if data is None:
            raise UnreadableImage(self.name(i), "no bytes (a path alone is not supported)")
        return bytes(data)

    def format(self, i: int) -> str:
        """Format of image i."""
        return header(BytesIO(self.stored(i)), self.name(i))[0]

    def size(self, i: int) -> tuple[int, int]:
        """Upright (height, width) of image i."""
        return header(BytesIO(self.stored(i)), self.name(i))[1]

    def _group_of(self, i: int) -> int:
        return int(np.searchsorted(self._ends, i, side="right"))

    def _read(self, group: int) -> Any:
        """The column of encoded bytes of one row group."""
        with _LOCK:
            if group not in self._cache:
                self._cache[group] = self._column_of(*self._groups[group])
            self._cache.move_to_end(group)
            while len(self._cache) > 1 and sum(a.nbytes for a in self._cache.values()) > _CACHE_BYTES:
                self._cache.popitem(last=False)
            return self._cache[group]

    def _column_of(self, f: int, g: int) -> Any:
        # Pre-buffering would read the groups that follow, and threads do not survive a fork.
        with pq.ParquetFile(self._files[f], pre_buffer=False) as file:
            chunks = list(self._chunks(file, f, g))
        data = pa.chunked_array(chunks).combine_chunks()
        return data.field("bytes") if pa.types.is_struct(data.type) else data

    def _chunks(self, file: Any, f: int, g: int) -> Iterator[Any]:
        """The column in parts of bearable size: one image that is stored once may come back for every row."""
        stored = file.metadata.row_group(g).total_byte_size
        rows = max(1, min(64, _CACHE_BYTES // max(1, stored)))
        left = _CACHE_BYTES + 2 * stored
        for batch in file.iter_batches(rows, row_groups=[g], columns=[self._column], use_threads=False):
            left -= batch.nbytes
            if left < 0:
                raise InputError(
                    f"row groups must hold about the {stored} bytes that they announce, got more than "
                    f"{_CACHE_BYTES + 2 * stored} in group {g} of {self._files[f].name}; write the file anew"
                )
            yield batch.column(0)
