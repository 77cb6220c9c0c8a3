"""Images in the columns of parquet files."""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tailgrad.data.decode import UnreadableImage, decode, header

_CACHE_BYTES = 256 * 2**20
# One lock for all, at module level, so that the items themselves can be sent to worker processes.
_LOCK = threading.Lock()


def group_sizes(file: Path) -> list[int]:
    """Rows of each row group of a parquet file.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as name:
        ...     pq.write_table(pa.table({"label": [1, 2, 3]}), Path(name) / "x.parquet", row_group_size=2)
        ...     group_sizes(Path(name) / "x.parquet")
        [2, 1]
    """
    metadata = pq.read_metadata(file)
    return [metadata.row_group(g).num_rows for g in range(metadata.num_row_groups)]


class ParquetImages:
    """Encoded images in a parquet column; row groups are read when needed, the last ones kept.

    Args:
        files: the files.
        column: the column, struct(bytes, path) or binary.

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
        sizes = [group_sizes(file) for file in files]
        self._groups = [(f, g) for f, counts in enumerate(sizes) for g in range(len(counts))]
        self._ends = np.cumsum([n for counts in sizes for n in counts], dtype=np.int64)
        self._starts = np.cumsum([0, *(sum(counts) for counts in sizes)]).tolist()
        self._cache: OrderedDict[int, Any] = OrderedDict()

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def load(self, i: int) -> NDArray[np.uint8]:
        """The upright image i, uint8 [H, W, 3]."""
        return decode(self.stored(i), self.name(i))

    def name(self, i: int) -> str:
        """File and row, such as ``train.parquet#12``."""
        f, _ = self._groups[self._group_of(i)]
        return f"{self._files[f].name}#{i - self._starts[f]}"

    def stored(self, i: int) -> bytes:
        """The encoded image i."""
        group = self._group_of(i)
        start = 0 if group == 0 else int(self._ends[group - 1])
        data = self._read(group)[i - start].as_py()
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
                f, g = self._groups[group]
                column = pq.ParquetFile(self._files[f]).read_row_group(g, columns=[self._column])[0]
                data = column.combine_chunks()
                self._cache[group] = data.field("bytes") if pa.types.is_struct(data.type) else data
            self._cache.move_to_end(group)
            while len(self._cache) > 1 and sum(a.nbytes for a in self._cache.values()) > _CACHE_BYTES:
                self._cache.popitem(last=False)
            return self._cache[group]
