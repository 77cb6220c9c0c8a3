"""Batches of images that are decoded while training."""

import multiprocessing.connection
import re
import signal
import threading
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from tailgrad.checks import InputError
from tailgrad.data.batch_order import BatchOrder
from tailgrad.data.decode import UnreadableImage
from tailgrad.data.decoded_rows import DecodedRows, Row, Rows, as_they_are
from tailgrad.data.reading import Reading
from tailgrad.data.source import Source
from tailgrad.types import Batch


class StreamingLoader(BatchOrder):
    """The same batches in the same order, decoded by worker processes when they are needed.

    In memory are the batches that the workers have ready, whatever the size of the set. An image that cannot
    be read ends the iteration with its name, or with ``on_unreadable="skip"`` its batch becomes one example
    smaller (with a second batch, both do). In training at least two examples stay (one, of a batch of one):
    images of the places that follow stand in. In evaluation a batch without any is left out.

    Args:
        source: where the images are.
        index: positions in the source [N], int64.
        size: (height, width) after resizing.
        batch_size: examples a batch.
        mode: resizing, "squash" or "crop".
        seed: as in ``ResidentLoader``.
        reading: worker processes, and what becomes of images that cannot be read.

    Raises:
        InputError: while iterating: an image that cannot be read, a worker process that ended.

    Example:
        >>> import numpy as np
        >>> from tailgrad.data import open_source
        >>> loader = StreamingLoader(open_source("digits-lt"), np.arange(5), (32, 32), batch_size=2)
        >>> [tuple(batch.inputs.shape) for batch in loader][-1]
        (1, 3, 32, 32)
    """

    def __init__(
        self,
        source: Source,
        index: NDArray[np.int64],
        size: tuple[int, int],
        *,
        batch_size: int,
        mode: str = "squash",
        seed: int | None = None,
        reading: Reading | None = None,
    ) -> None:
        super().__init__(torch.as_tensor(source.target(index)), torch.as_tensor(index), batch_size, seed)
        self.reading = reading or Reading()
        stop, least = self.reading.on_unreadable == "stop", 0 if seed is None else 2
        self._images = DecodedRows(source, index, size, mode, least, stop=stop)
        self._wanted = _Wanted()
        self._kept: DataLoader[Rows] | None = None

    def __iter__(self) -> Iterator[Batch]:
        sides = [side for side in (self.places(), self.partner_places()) if side]
        self._wanted.rows = [torch.stack(together, 1) for together in zip(*sides, strict=True)]
        try:
            for read in self._decoded():
                self._note(read)
                if len(read.places):
                    yield self._batch(read)
        except InputError:
            self._kept = None  # lets the workers go at once, and not when the traceback is forgotten
            raise

    def _decoded(self) -> Iterator[Rows]:
        try:
            batches = _started(self._loader())
        except OSError as error:  # no memory for another process
            raise self._ended(str(error)) from error
        try:
            yield from batches
        except RuntimeError as error:
            died = re.match(r"DataLoader worker \(pid\(s\) ([\d, ]+)\) exited", str(error))
            if died is None:
                raise
            del batches
            raise self._ended(f"process {died[1]}") from None
        except (OSError, EOFError) as error:  # a worker that died while it was handing a batch over
            died_now = _dead(batches)
            if not died_now:
                raise
            del batches
            raise self._ended(f"process {died_now}") from error

    def _loader(self) -> "DataLoader[Rows]":
        """The workers of training stay from epoch to epoch; they only ever see the places they are sent."""
        if self._kept is not None:
            return self._kept
        workers = self.reading.workers
        stays = self.seed is not None and workers > 0
        loader = DataLoader(
            self._images,
            batch_sampler=self._wanted,
            collate_fn=as_they_are,
            num_workers=workers,
            prefetch_factor=self.reading.prefetch if workers else None,
            persistent_workers=stays,
            pin_memory=self.reading.pin,
            generator=torch.Generator(),
        )
        self._kept = loader if stays else None
        return loader

    def _note(self, read: Rows) -> None:
        if read.faults and self._images.stop:
            raise UnreadableImage(*read.faults[0])
        for name, reason in read.faults:
            self.reading.passed_over.add(name, reason)
        if self._images.least and not len(read.places):
            raise InputError(
                f"some images must be readable, got {len(read.faults)} in a row that are not, the last "
                f"{read.faults[-1][0]!r}: {read.faults[-1][1]}; restore them and go on with --resume"
            )

    def _batch(self, read: Rows) -> Batch:
        first, *second = (
            Batch(images.contiguous(), self.target[places], self.index[places])
            for images, places in zip(read.images.unbind(1), read.places.unbind(1), strict=True)
        )
        return Batch(first.inputs, first.target, first.index, second[0] if second else None)

    def _ended(self, what: str) -> InputError:
        return InputError(
            f"the processes that decode images must keep running, got the end of one ({what}), as when "
            "memory or shared memory runs out; what was saved is kept: go on with --resume and fewer of "
            f"them, data.workers={self.reading.workers // 2} in place of {self.reading.workers}"
        )


class _Wanted:
    """The places of each batch, handed to ``DataLoader`` anew for every epoch."""

    def __init__(self) -> None:
        self.rows: Sequence[Tensor] = ()

    def __iter__(self) -> Iterator[list[Row]]:
        return (rows.tolist() for rows in self.rows)

    def __len__(self) -> int:
        return len(self.rows)


def _dead(batches: Iterator[Rows], seconds: float = 5.0) -> str:
    """The process numbers of the workers that ended, "" if all go on.

    A connection to a dying process breaks before the process can be waited for: hence the time.
    """
    workers = {one.sentinel: one for one in getattr(batches, "_workers", ())}
    if not workers:
        return ""
    ended = [workers[one] for one in multiprocessing.connection.wait(list(workers), seconds)]
    for one in ended:
        one.join()
    return ", ".join(str(one.pid) for one in ended)


def _started(loader: "DataLoader[Rows]") -> Iterator[Rows]:
    """An iterator over a loader, without the signal handler that PyTorch installs with it.

    The handler would raise at any line of the program when a worker dies, in the middle of writing a
    checkpoint too. Without it the loader notices when it waits for that worker's next batch.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "SIGCHLD"):
        return iter(loader)
    before = signal.getsignal(signal.SIGCHLD)
    batches = iter(loader)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL if before is None else before)
    return batches
