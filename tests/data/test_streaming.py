"""Streaming: begun in the middle, at a smaller scale, with images that vanish and workers that are killed."""

import io
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from numpy.typing import NDArray
from PIL import ExifTags, Image
from torch.utils.data import dataloader

from tailgrad.checks import InputError
from tailgrad.data import (
    ResidentLoader,
    Source,
    StreamingLoader,
    UnreadableImage,
    decoded_rows,
    load_images,
    open_source,
)
from tailgrad.data.decode import decode
from tailgrad.data.reading import PassedOver, Reading
from tailgrad.data.resize import resize

pytestmark = pytest.mark.long

SIZE = (6, 6)


class Logged:
    """Images of one shade each, which note every look at them in a file (workers are other processes)."""

    def __init__(self, n: int, log: Path, *, bad: tuple[int, ...] = (), slow: float = 0.0) -> None:
        self.n, self.log, self.bad, self.slow = n, log, bad, slow

    def __len__(self) -> int:
        return self.n

    def load(self, i: int) -> NDArray[np.uint8]:
        with self.log.open("a") as file:
            file.write(f"{i}\n")
        time.sleep(self.slow)
        if i in self.bad:
            raise UnreadableImage(self.name(i), "damaged on purpose")
        return np.full((6, 6, 3), i, np.uint8)

    def name(self, i: int) -> str:
        return f"image {i}"

    def looks(self) -> list[int]:
        return [int(line) for line in self.log.read_text().split()] if self.log.exists() else []


def made(items: Logged) -> Source:
    return Source("made", items, np.arange(items.n) % 2, ("a", "b"), ("",) * items.n)


def streamed(
    items: Logged, *, batch_size: int = 4, seed: int | None = 0, reading: Reading
) -> StreamingLoader:
    index = np.arange(items.n)
    return StreamingLoader(made(items), index, SIZE, batch_size=batch_size, seed=seed, reading=reading)


@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_begun_in_its_middle_decodes_only_what_is_left(tmp_path: Path, workers: int) -> None:
    loader = streamed(Logged(23, tmp_path / "log"), reading=Reading(workers=workers))
    loader.set_epoch(3)
    whole = list(loader)
    loader.set_epoch(3)
    (tmp_path / "log").unlink()
    rest = list(loader.begin_at(4))
    assert len(loader) == len(whole) == 6
    for a, b in zip(whole[4:], rest, strict=True):
        assert torch.equal(a.inputs, b.inputs)
        assert torch.equal(a.index, b.index)
    left = [int(i) for batch in whole[4:] for i in batch.index]
    assert sorted(loader._images.source.items.looks()) == sorted(left)
    loader.set_epoch(4)
    assert sum(len(batch) for batch in loader) == 23


def test_workers_of_training_stay_from_epoch_to_epoch_and_survive_a_break(tmp_path: Path) -> None:
    loader = streamed(Logged(12, tmp_path / "log"), reading=Reading(workers=2, prefetch=1))
    seen, pids, others = [], [], {process.pid for process in multiprocessing.active_children()}
    for epoch in range(3):
        loader.set_epoch(epoch)
        seen.append(torch.cat([batch.index for batch in loader]).tolist())
        pids.append({process.pid for process in multiprocessing.active_children()} - others)
        next(iter(loader))  # begun and left
    assert pids[0] == pids[1] == pids[2]
    assert len(pids[0]) == 2
    plain = ResidentLoader(torch.zeros(12, 1), torch.zeros(12), torch.arange(12), batch_size=4, seed=0)
    for epoch in range(3):
        plain.set_epoch(epoch)
        assert seen[epoch] == torch.cat([batch.index for batch in plain]).tolist()


@pytest.mark.parametrize("workers", [0, 2])
def test_an_image_that_cannot_be_read_stops_with_its_name(tmp_path: Path, workers: int) -> None:
    loader = streamed(Logged(12, tmp_path / "log", bad=(5,)), reading=Reading(workers=workers))
    with pytest.raises(
        UnreadableImage, match="image 'image 5' must be readable, got: damaged on purpose"
    ) as error:
        list(loader)
    assert "Traceback" not in str(error.value)


@pytest.mark.parametrize("workers", [0, 2])
def test_skipped_images_make_batches_smaller_and_are_counted_once(tmp_path: Path, workers: int) -> None:
    passed_over = PassedOver()
    reading = Reading(workers=workers, on_unreadable="skip", passed_over=passed_over)
    loader = streamed(Logged(12, tmp_path / "log", bad=(5, 7)), reading=reading)
    whole = streamed(Logged(12, tmp_path / "other"), reading=Reading())
    for epoch in (1, 2):
        for one in (loader, whole):
            one.set_epoch(epoch)
        for got, full in zip(loader, whole, strict=True):
            kept = [i for i in full.index.tolist() if i not in (5, 7)]
            assert got.index.tolist() == kept
            assert got.inputs[:, 0, 0, 0].tolist() == kept
            assert got.target.tolist() == [i % 2 for i in kept]
    assert passed_over.to_dict()["count"] == 2
    assert set(passed_over.to_dict()["names"]) == {"image 5", "image 7"}


def test_a_batch_of_training_keeps_two_examples_and_one_of_evaluation_may_go(tmp_path: Path) -> None:
    bad = (0, 1, 2, 3, 4, 9)
    index = np.arange(12)
    reading = Reading(on_unreadable="skip")
    source = made(Logged(12, tmp_path / "log", bad=bad))
    training = StreamingLoader(source, index, SIZE, batch_size=4, seed=0, reading=reading)
    training.ordered(_Fixed([0, 1, 2, 3, 8, 9, 10, 11]))
    # 0 ... 3 are gone: what follows the last one (4 is gone too) stands in
    assert [batch.index.tolist() for batch in training] == [[5, 6], [8, 10, 11]]
    evaluation = StreamingLoader(source, index, SIZE, batch_size=2, seed=None, reading=reading)
    assert [batch.index.tolist() for batch in evaluation] == [[5], [6, 7], [8], [10, 11]]


def test_pairs_stay_pairs_where_one_of_them_is_skipped(tmp_path: Path) -> None:
    source = made(Logged(12, tmp_path / "log", bad=(1, 8)))
    loader = StreamingLoader(
        source, np.arange(12), SIZE, batch_size=4, seed=0, reading=Reading(on_unreadable="skip")
    ).ordered(_Fixed([0, 1, 2, 3]), _Fixed([6, 7, 8, 9]))
    (batch,) = loader
    assert batch.partner is not None
    assert (batch.index.tolist(), batch.partner.index.tolist()) == ([0, 3], [6, 9])
    assert batch.partner.inputs[:, 0, 0, 0].tolist() == [6, 9]
    assert batch.inputs.is_contiguous()


def test_a_set_of_which_nothing_is_left_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoded_rows, "MOST_TRIES", 30)
    items = Logged(40, tmp_path / "log", bad=tuple(range(40)))
    with pytest.raises(InputError, match=r"some images must be readable, got 34 in a row.*--resume"):
        list(streamed(items, reading=Reading(on_unreadable="skip")))


class _Fixed:
    def __init__(self, places: list[int]) -> None:
        self.places = places

    def set_epoch(self, epoch: int) -> None:
        """Always the same."""

    def __iter__(self):
        return iter(self.places)

    def __len__(self) -> int:
        return len(self.places)


def encoded(pixels: NDArray[np.uint8], **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", **options)
    return file.getvalue()


def photograph(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """Noise whose amplitude falls with frequency as that of photographs does."""
    random, planes = np.random.default_rng(seed), []
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    for _ in range(3):
        wave = np.fft.rfft2(random.normal(size=(height, width))) / np.maximum(
            frequency, 1 / max(height, width)
        )
        plane = np.fft.irfft2(wave, s=(height, width))
        planes.append((plane - plane.min()) / np.ptp(plane))
    return (np.stack(planes, -1) * 255).astype(np.uint8)


def folder_of(root: Path, write: Callable[[Path, int], None], n: int) -> Source:
    for i in range(n):
        path = root / "ab"[i % 2] / f"{i:02d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, i)
    return open_source(root)


@pytest.mark.parametrize("target", [(30, 40), (64, 64), (100, 50), (7, 300), (240, 320), (500, 500)])
def test_a_reduced_scale_is_the_smallest_that_leaves_enough(target: tuple[int, int]) -> None:
    data = encoded(photograph(240, 320), quality=95)
    scales = [(-(-240 // s), -(-320 // s)) for s in (8, 4, 2, 1)]
    enough = [scale for scale in scales if 240 * target[1] >= 0 and _divides(scale, target)]
    height, width, _ = decode(data, "x", target).shape
    assert (height, width) == (enough[0] if enough else (240, 320))


def _divides(scale: tuple[int, int], target: tuple[int, int]) -> bool:
    s = round(240 / scale[0])
    return 240 // target[0] >= s and 320 // target[1] >= s


def test_a_turned_photograph_is_reduced_by_its_upright_sides() -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    data = encoded(photograph(100, 400), exif=exif)
    assert decode(data, "x").shape == (400, 100, 3)
    assert decode(data, "x", (100, 50)).shape == (200, 50, 3)
    assert decode(data, "x", (50, 100)).shape == (400, 100, 3)


@pytest.mark.parametrize(("height", "width", "side"), [(480, 640, 224), (1200, 1600, 224), (900, 700, 96)])
def test_the_reduced_scale_gives_nearly_the_same_picture(height: int, width: int, side: int) -> None:
    data = encoded(photograph(height, width), quality=92)
    full = resize(decode(data, "x"), (side, side)).astype(float)
    fast = resize(decode(data, "x", (side, side)), (side, side)).astype(float)
    assert np.abs(full - fast).mean() < 0.1 * full.std()
    assert abs(full.mean() - fast.mean()) < 0.5  # not darker, not brighter
    assert np.corrcoef(full.ravel(), fast.ravel())[0, 1] > 0.99


@pytest.mark.parametrize("mode", ["squash", "crop"])
def test_streaming_and_residence_decode_at_the_same_scale(tmp_path: Path, mode: str) -> None:
    source = folder_of(
        tmp_path, lambda path, i: path.write_bytes(encoded(photograph(90 + 20 * i, 130, i))), 5
    )
    index = np.arange(5)
    resident = load_images(source, index, (32, 32), mode=mode)
    streaming = StreamingLoader(source, index, (32, 32), batch_size=2, mode=mode)
    assert torch.equal(torch.cat([batch.inputs for batch in streaming]), resident)


def test_files_removed_and_damaged_while_training_are_passed_over(tmp_path: Path) -> None:
    source = folder_of(tmp_path, lambda path, i: Image.new("L", (8, 8), i).save(path), 12)
    reading = Reading(workers=2, prefetch=1, on_unreadable="skip")
    loader = StreamingLoader(source, np.arange(12), SIZE, batch_size=3, seed=0, reading=reading)
    assert sum(len(batch) for batch in loader) == 12
    (tmp_path / "a" / "04.jpg").unlink()
    (tmp_path / "b" / "07.jpg").write_bytes(b"\xff\xd8 cut")
    assert sum(len(batch) for batch in loader) == 10
    assert set(reading.passed_over.reasons) == {"a/04.jpg", "b/07.jpg"}
    assert "No such file" in reading.passed_over.reasons["a/04.jpg"]


def test_a_parquet_file_removed_while_training_names_a_row(tmp_path: Path) -> None:
    table = {"image": [encoded(photograph(8, 8, i)) for i in range(6)], "label": [i % 2 for i in range(6)]}
    pq.write_table(pa.table(table), tmp_path / "a.parquet", row_group_size=2)
    source = open_source(tmp_path / "a.parquet")
    (tmp_path / "a.parquet").unlink()
    with pytest.raises(UnreadableImage, match=r"a\.parquet#\d"):
        list(StreamingLoader(source, np.arange(6), SIZE, batch_size=3, seed=0, reading=Reading(workers=1)))


@pytest.mark.parametrize("waiting", [True, False])
def test_a_killed_worker_ends_the_epoch_with_one_clear_error(tmp_path: Path, waiting: bool) -> None:
    """Killed while the loader waits for it, and while the program is at something else."""
    items = Logged(40, tmp_path / "log", slow=0.02 if waiting else 0.0)
    loader = streamed(items, reading=Reading(workers=2, prefetch=1))
    before, others = signal.getsignal(signal.SIGCHLD), multiprocessing.active_children()
    batches = iter(loader)
    next(batches)
    victim = next(one for one in multiprocessing.active_children() if one not in others)
    assert signal.getsignal(signal.SIGCHLD) == before
    if waiting:
        threading.Timer(0.05, os.kill, (victim.pid, signal.SIGKILL)).start()
    else:
        os.kill(victim.pid, signal.SIGKILL)
        time.sleep(0.3)  # no error here, where a checkpoint might be in the middle of being written
    with pytest.raises(InputError) as error:
        list(batches)
    said = str(error.value)
    assert f"process {victim.pid}" in said
    assert "what was saved is kept: go on with --resume" in said
    assert "data.workers=1 in place of 2" in said
    loader.set_epoch(2)
    assert sum(len(batch) for batch in loader) == 40  # new workers, for who wants to go on at once


@pytest.mark.parametrize("dies", [True, False])
def test_a_connection_that_breaks_is_told_from_a_worker_that_died(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dies: bool
) -> None:
    """A worker that dies while handing a batch over breaks the connection before it can be waited for."""
    items = Logged(40, tmp_path / "log")
    batches = iter(streamed(items, reading=Reading(workers=2, prefetch=1)))
    others = multiprocessing.active_children()
    next(batches)
    victim = next(one for one in multiprocessing.active_children() if one not in others)

    def broken(_: object, timeout: float = 0.0) -> NoReturn:
        if dies:
            os.kill(victim.pid or 0, signal.SIGKILL)
        raise ConnectionResetError("reset by peer")

    monkeypatch.setattr(dataloader._MultiProcessingDataLoaderIter, "_try_get_data", broken)
    wanted = f"process {victim.pid}.*go on with --resume" if dies else "reset by peer"
    with pytest.raises(InputError if dies else ConnectionResetError, match=wanted):
        list(batches)  # a batch that came early is handed on without asking


@pytest.mark.parametrize(("wrong", "message"), [({"workers": -1}, "workers"), ({"prefetch": 0}, "prefetch")])
def test_what_cannot_be(wrong: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Reading(**wrong)
    with pytest.raises(
        InputError, match="on_unreadable must be a known name, got 'skp'; did you mean 'skip'"
    ):
        Reading(on_unreadable="skp")  # type: ignore[arg-type]
