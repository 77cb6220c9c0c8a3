"""Batches of resident images: what is in them, on whichever device."""

from collections.abc import Iterator

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tailgrad.data import ResidentLoader
from tailgrad.types import Batch

DEVICES = [
    "cpu",
    pytest.param(
        "cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
    ),
]
each_device = pytest.mark.parametrize("device", DEVICES)


class _Order:
    def __init__(self, places: list[int]) -> None:
        self.places = places

    def set_epoch(self, epoch: int) -> None:
        self.places = self.places[epoch % 3 :] + self.places[: epoch % 3]

    def __iter__(self) -> Iterator[int]:
        return iter(self.places)

    def __len__(self) -> int:
        return len(self.places)


def _loader(n: int, batch_size: int, seed: int | None, device: str = "cpu") -> ResidentLoader:
    generator = torch.Generator().manual_seed(n)
    images = torch.randint(256, (n, 3, 5, 4), dtype=torch.uint8, generator=generator)
    index = torch.randperm(10 * n, generator=generator)[:n]
    return ResidentLoader(images.to(device), torch.arange(n) % 4, index, batch_size=batch_size, seed=seed)


def _check(loader: ResidentLoader, batch: Batch, places: torch.Tensor) -> None:
    """A batch is the rows of its places, plainly indexed."""
    assert batch.inputs.device == batch.target.device == loader.images.device
    assert batch.index.device.type == "cpu"
    assert torch.equal(batch.inputs.cpu(), loader.images.cpu()[places])
    assert torch.equal(batch.target.cpu(), loader.target[places])
    assert torch.equal(batch.index, loader.index[places])


@each_device
@given(
    n=st.integers(1, 30),
    batch_size=st.integers(1, 9),
    seed=st.none() | st.integers(0, 99),
    first=st.integers(0, 3),
)
def test_batches_are_the_rows_of_their_places(
    device: str, n: int, batch_size: int, seed: int | None, first: int
) -> None:
    loader = _loader(n, batch_size, seed, device)
    loader.set_epoch(2)
    loader.begin_at(first)
    batches = list(loader)
    assert len(batches) == max(0, len(loader) - first)
    for batch, places in zip(batches, loader.places(), strict=True):
        assert batch.partner is None
        _check(loader, batch, places)


@each_device
def test_partners_are_the_rows_of_their_own_places(device: str) -> None:
    loader = _loader(12, 4, 0, device).ordered(_Order([5, 5, 0, 1, 11, 2]), _Order([4, 3, 9]))
    loader.set_epoch(1)
    parts = zip(loader.places(), loader.partner_places(), strict=True)
    for batch, (places, others) in zip(loader, parts, strict=True):
        _check(loader, batch, places)
        assert batch.partner is not None
        _check(loader, batch.partner, others)


def test_batches_are_copies_of_what_is_kept() -> None:
    loader = _loader(6, 3, None)
    kept = loader.images.clone()
    for batch in loader:
        batch.inputs.zero_()
        batch.target.zero_()
    assert torch.equal(loader.images, kept)
    assert loader.target.tolist() == [0, 1, 2, 3, 0, 1]


def test_features_are_cut_like_images() -> None:
    features = torch.randn(7, 11)
    loader = ResidentLoader(features, torch.zeros(7).long(), torch.arange(7), batch_size=3)
    assert torch.equal(torch.cat([batch.inputs for batch in loader]), features)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_no_batch_waits_for_the_device() -> None:
    batches = iter(_loader(60, 8, 0, "cuda"))
    next(batches)  # the epoch's order travels before the first
    torch.cuda.set_sync_debug_mode("error")
    try:
        assert len(list(batches)) == 7
    finally:
        torch.cuda.set_sync_debug_mode("default")
