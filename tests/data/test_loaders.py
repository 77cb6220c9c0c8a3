import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tailgrad.data import ResidentLoader, StreamingLoader, load_images, open_source
from tailgrad.data.batch_order import epoch_order
from tailgrad.data.reading import Reading

SIZE = (32, 32)


def _both(seed: int | None, workers: int = 0) -> tuple[ResidentLoader, StreamingLoader]:
    source, index = open_source("digits-lt"), np.array([3, 50, 7, 900, 1200, 11, 42])
    images = load_images(source, index, SIZE)
    target = torch.as_tensor(source.labels[index])
    resident = ResidentLoader(images, target, torch.as_tensor(index), batch_size=3, seed=seed)
    return resident, StreamingLoader(
        source, index, SIZE, batch_size=3, seed=seed, reading=Reading(workers=workers)
    )


@pytest.mark.parametrize("seed", [None, 0, 5])
@pytest.mark.parametrize("workers", [0, 2])
def test_streaming_gives_the_batches_of_residence(seed: int | None, workers: int) -> None:
    resident, streaming = _both(seed, workers)
    for epoch in (1, 2):
        resident.set_epoch(epoch)
        streaming.set_epoch(epoch)
        for a, b in zip(resident, streaming, strict=True):
            assert torch.equal(a.inputs, b.inputs)
            assert torch.equal(a.target, b.target)
            assert torch.equal(a.index, b.index)
    assert len(resident) == len(streaming) == (3 if seed is None else 2)


@given(st.integers(1, 40), st.integers(1, 12))
def test_one_example_left_over_joins_the_batch_before_in_training(n: int, batch_size: int) -> None:
    images = torch.zeros(n, 3, 2, 2, dtype=torch.uint8)
    sizes = {}
    for seed in (None, 0):
        loader = ResidentLoader(
            images, torch.zeros(n).long(), torch.arange(n), batch_size=batch_size, seed=seed
        )
        batches = list(loader)
        sizes[seed] = [len(batch) for batch in batches]
        assert len(loader) == len(batches)
        assert sorted(torch.cat([batch.index for batch in batches]).tolist()) == list(range(n))
    assert max(sizes[None]) <= batch_size
    if n > 1 and batch_size > 1:
        assert min(sizes[0]) > 1
        assert max(sizes[0]) <= batch_size + 1


@given(st.integers(1, 200), st.integers(0, 2**31 - 1), st.integers(1, 300))
def test_an_epoch_visits_everything_once_in_an_order_of_its_own(n: int, seed: int, epoch: int) -> None:
    order = epoch_order(n, seed, epoch)
    assert sorted(order.tolist()) == list(range(n))
    assert torch.equal(order, epoch_order(n, seed, epoch))
    if n > 20:
        assert not torch.equal(order, epoch_order(n, seed, epoch + 1))
        assert not torch.equal(order, epoch_order(n, seed + 1, epoch))


def test_without_a_seed_the_order_is_the_one_given() -> None:
    resident, _ = _both(None)
    assert torch.cat([batch.index for batch in resident]).tolist() == [3, 50, 7, 900, 1200, 11, 42]


def test_drawing_an_order_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    for loader in _both(1):
        list(loader)
    assert torch.equal(before, torch.get_rng_state())
