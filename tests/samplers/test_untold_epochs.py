"""A sampler whose epochs are never told draws the same again, and says so once."""

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from tailgrad.samplers import ClassBalancedSampler, DeferredSampler, InstanceSampler

TARGET = [0] * 9 + [1] * 3


def test_the_second_time_warns_and_is_the_same_order() -> None:
    sampler = ClassBalancedSampler(TARGET)
    first = list(sampler)
    with pytest.warns(UserWarning, match=r"ClassBalancedSampler begins again .* same examples .* set_epoch"):
        assert list(sampler) == first
    assert list(sampler) == first, "and the third time without another warning"


def test_a_deferred_sampler_that_is_not_told_warns_in_its_loader_with_workers() -> None:
    data = TensorDataset(torch.arange(12))
    loader = DataLoader(data, batch_size=4, sampler=DeferredSampler(TARGET, defer=1), num_workers=1)
    list(loader)
    with pytest.warns(UserWarning, match="DeferredSampler begins again"):
        list(loader)


@pytest.mark.parametrize("workers", [{}, {"num_workers": 1, "persistent_workers": True}])
def test_one_that_is_told_is_quiet_with_and_without_workers(workers: dict[str, int]) -> None:
    sampler = ClassBalancedSampler(TARGET)
    loader = DataLoader(TensorDataset(torch.arange(12)), batch_size=4, sampler=sampler, **workers)
    orders = []
    for epoch in (1, 2, 2):
        sampler.set_epoch(epoch)
        orders.append(torch.cat([batch for (batch,) in loader]).tolist())
    assert orders[0] != orders[1] == orders[2]


def test_an_epoch_set_by_hand_is_an_epoch() -> None:
    sampler = InstanceSampler(TARGET)
    first = list(sampler)
    sampler.epoch = 2
    assert list(sampler) != first
