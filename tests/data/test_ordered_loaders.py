"""Loaders that read in the order of a sampler, with and without a second batch beside every batch."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from tailgrad.data import open_source
from tailgrad.data.resident_loader import ResidentLoader
from tailgrad.data.streaming_loader import StreamingLoader


class _Order:
    """Places that begin with the epoch."""

    def __init__(self, places: list[int]) -> None:
        self.places, self.epoch = places, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        return iter([self.epoch, *self.places])

    def __len__(self) -> int:
        return 1 + len(self.places)


def _loader(streaming: bool) -> Any:
    if streaming:
        return StreamingLoader(open_source("digits-lt"), np.arange(6), (8, 8), batch_size=2, seed=0)
    source = open_source("digits-lt")
    images = torch.arange(6, dtype=torch.uint8)[:, None, None, None].expand(6, 3, 2, 2)
    return ResidentLoader(images, torch.as_tensor(source.labels[:6]), torch.arange(6), batch_size=2, seed=0)


@pytest.mark.parametrize("streaming", [False, True])
def test_batches_follow_the_order_of_the_epoch(streaming: bool) -> None:
    loader = _loader(streaming).ordered(_Order([5, 5, 0]))
    loader.set_epoch(2)
    assert len(loader) == 2
    assert [batch.index.tolist() for batch in loader] == [[2, 5], [5, 0]]
    assert all(batch.partner is None for batch in loader)


@pytest.mark.parametrize("streaming", [False, True])
def test_partners_are_as_large_as_their_batches_and_begin_anew_where_they_run_out(streaming: bool) -> None:
    loader = _loader(streaming).ordered(_Order([5, 5, 0, 1]), _Order([4, 3]))
    loader.set_epoch(1)
    batches = list(loader)
    # five places with batches of two: the last example joins the batch before, as BatchNorm needs
    assert [batch.index.tolist() for batch in batches] == [[1, 5], [5, 0, 1]]
    assert [batch.partner.index.tolist() for batch in batches] == [[1, 4], [3, 1, 4]]
    labels = _loader(streaming).target
    for batch in batches:
        assert torch.equal(batch.partner.target, labels[batch.partner.index])


def test_images_of_both_batches_are_those_of_their_places() -> None:
    images = {streaming: [] for streaming in (False, True)}
    source = open_source("digits-lt")
    from tailgrad.data import load_images

    stored = load_images(source, np.arange(6), (8, 8))
    for streaming in (False, True):
        loader = _loader(streaming).ordered(_Order([5, 0, 3]), _Order([4, 3, 2]))
        if not streaming:
            loader.images = stored
        for batch in loader:
            images[streaming] += [batch.inputs, batch.partner.inputs]
            assert torch.equal(batch.inputs, stored[batch.index])
    for one, other in zip(images[False], images[True], strict=True):
        assert torch.equal(one, other)


def test_without_an_order_the_shuffle_is_that_of_before() -> None:
    plain, ordered = _loader(False), _loader(False).ordered(None, None)
    for loader in (plain, ordered):
        loader.set_epoch(3)
    assert [b.index.tolist() for b in plain] == [b.index.tolist() for b in ordered]
