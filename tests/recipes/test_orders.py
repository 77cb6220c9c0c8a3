"""Samplers from a configuration: their seeds, the second batch, and what the loader makes of them."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from tailgrad.data.resident_loader import ResidentLoader
from tailgrad.recipes.components import components
from tailgrad.recipes.compose import validate
from tailgrad.recipes.config import NamedConfig
from tailgrad.recipes.orders import PARTNER_SEED, make_order, order_correction, training_loader

COUNTS = np.array([50, 20, 6])
TARGET = np.repeat([0, 1, 2], COUNTS)
OPTIONS: dict[str, dict[str, Any]] = {"two_phase": {"phase": 1}, "m_per_class": {"m": 4}}
NAMES = sorted(components("samplers"))


def _job(**parts: Any) -> Any:
    config = validate({"source": "x", "train": {"batch_size": 8, "epochs": 3}, **parts})

    def loader(part: str, batch_size: int, seed: int) -> ResidentLoader:
        assert part == "train"
        images = torch.zeros(len(TARGET), 3, 2, 2, dtype=torch.uint8)
        places = torch.arange(len(TARGET))
        return ResidentLoader(images, torch.tensor(TARGET), places, batch_size=batch_size, seed=seed)

    return SimpleNamespace(config=config, ready=SimpleNamespace(loader=loader))


def _epoch(loader: Any, epoch: int) -> tuple[list[int], list[int]]:
    """Places of an epoch's batches and of their second batches."""
    loader.set_epoch(epoch)
    batches = list(loader)
    assert len(batches) == len(loader)
    second = [i for batch in batches if batch.partner is not None for i in batch.partner.index.tolist()]
    return [i for batch in batches for i in batch.index.tolist()], second


@pytest.mark.parametrize("name", NAMES)
def test_every_sampler_has_a_name_and_feeds_the_loader(name: str) -> None:
    sampler = {"name": name, "options": OPTIONS.get(name, {})}
    loader = training_loader(_job(sampler=sampler, seed=3))
    order = make_order(NamedConfig(**sampler), TARGET.tolist(), epochs=3, batch_size=8, seed=3)
    assert (order is None) == (name == "instance")
    for epoch in (1, 2, 3):
        places, second = _epoch(loader, epoch)
        assert second == []
        if order is None:
            assert sorted(places) == list(range(len(TARGET)))
        else:
            order.set_epoch(epoch)
            assert places == list(order)


@pytest.mark.parametrize("name", ["class_balanced", "progressive", "cooldown", "stratified", "over"])
def test_a_sampler_gets_what_the_run_knows(name: str) -> None:
    order = make_order(NamedConfig(name=name), TARGET.tolist(), epochs=7, batch_size=9, seed=11)
    assert order.seed == 11
    assert (order.num_replicas, order.rank) == (1, 0)
    assert getattr(order, "epochs", 7) == 7
    assert getattr(order, "batch_size", 9) == 9
    assert hasattr(order, "epochs") == (name in ("progressive", "cooldown"))


def test_options_of_the_configuration_come_before_what_is_filled_in() -> None:
    power = NamedConfig(name="power", options={"power": 0.25})
    shift = order_correction(make_order(power, TARGET.tolist(), epochs=1, batch_size=8, seed=0)).log_shift
    wanted = COUNTS**0.25 / (COUNTS**0.25).sum() / (COUNTS / COUNTS.sum())
    np.testing.assert_allclose(np.exp(shift), wanted)
    assert order_correction(make_order(NamedConfig(name="none"), [0], epochs=1, batch_size=1, seed=0)) is None


def test_a_partner_of_the_same_kind_is_another_order_and_leaves_the_first_as_it_was() -> None:
    balanced = {"name": "class_balanced"}
    cmo = {"mixing": {"name": "cmo"}, "partner": balanced}
    both = training_loader(_job(sampler=balanced, seed=0, **cmo))
    alone = training_loader(_job(sampler=balanced, seed=0))
    for epoch in (1, 2):
        first, second = _epoch(both, epoch)
        assert first == _epoch(alone, epoch)[0]
        assert len(first) == len(second)
        assert np.mean(np.equal(first, second)) < 0.15


def test_no_second_batch_is_the_first_one_of_a_run_with_another_seed() -> None:
    balanced = {"name": "class_balanced"}
    parts = {"sampler": balanced, "partner": balanced, "mixing": {"name": "cmo"}}
    orders = [order for seed in range(20) for order in _epoch(training_loader(_job(seed=seed, **parts)), 1)]
    assert len({tuple(order) for order in orders}) == 40
    expected = make_order(NamedConfig(**balanced), TARGET.tolist(), epochs=3, batch_size=8, seed=PARTNER_SEED)
    assert orders[1] == list(expected)


def test_a_natural_first_batch_keeps_its_shuffle_beside_a_reversed_partner() -> None:
    plain = training_loader(_job(seed=2))
    paired = training_loader(_job(seed=2, mixing={"name": "cmo"}, partner={"name": "reversed"}))
    first, second = _epoch(paired, 1)
    assert first == _epoch(plain, 1)[0]
    drawn = np.bincount(TARGET[second], minlength=3) / len(second)
    assert drawn[2] > 0.5  # 1/6 of 1/50 + 1/20 + 1/6 is seven tenths
    assert drawn[0] < 0.25


@pytest.mark.parametrize(("ratio", "steps"), [(1.0, 3), (3.0, 6), (1.5, 3)])
def test_a_short_partner_is_repeated_and_a_short_order_ends_the_epoch(ratio: float, steps: int) -> None:
    under = {"name": "under", "options": {"ratio": ratio}}
    loader = training_loader(_job(sampler=under))
    size = sum(min(n, int(ratio * 6)) for n in COUNTS.tolist())
    assert len(_epoch(loader, 1)[0]) == size
    assert len(loader) == steps == -(-size // 8)
    paired = training_loader(_job(mixing={"name": "cmo"}, partner=under))
    first, second = _epoch(paired, 1)
    assert len(first) == len(second) == 76
    assert second[size:] == (second[:size] * 5)[: 76 - size]
