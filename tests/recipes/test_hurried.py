"""Measuring within a time: which images come first, how many they are, and what is said of it."""

import copy
from pathlib import Path
from typing import Any

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tailgrad.interference import Interference
from tailgrad.recipes import train
from tailgrad.recipes.hurried import ClassesInTurn, images_within, seconds_per_image


@given(st.lists(st.integers(0, 6), min_size=1, max_size=60), st.integers(0, 9))
def test_no_class_is_ahead_of_another_that_has_images_left(labels: list[int], seed: int) -> None:
    target = torch.tensor(labels)
    order = list(ClassesInTurn(target, seed=seed))
    assert sorted(order) == list(range(len(labels)))
    whole = torch.bincount(target)
    for end in range(1, len(order)):
        seen = torch.bincount(target[order[:end]], minlength=len(whole))
        left = seen < whole
        if left.any():
            assert int(seen[whole > 0].max()) <= int(seen[left].min()) + 1


def test_the_order_within_a_class_is_drawn() -> None:
    target = torch.zeros(20, dtype=torch.int64)
    assert list(ClassesInTurn(target)) == list(ClassesInTurn(target, seed=0))
    assert list(ClassesInTurn(target)) != list(ClassesInTurn(target, seed=1))


def test_two_images_of_every_class_are_measured_in_any_case() -> None:
    target = torch.tensor([0] * 9 + [1] * 5 + [2])
    assert torch.bincount(target[list(ClassesInTurn(target, most=0))]).tolist() == [2, 2, 1]
    assert torch.bincount(target[list(ClassesInTurn(target, most=7))]).tolist() == [3, 3, 1]


def test_a_slower_network_gets_fewer_images() -> None:
    found = [images_within(1, rate, classes=10) for rate in (0.01, 0.1, 1.0)]
    assert found == sorted(found, reverse=True)
    assert images_within(2, 0.1, 10) > found[1]


def test_timing_a_network_leaves_it_as_it_was() -> None:
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(), nn.Linear(4, 2))
    network[1].eval()
    before = copy.deepcopy(network.state_dict())
    assert 0 < seconds_per_image(network, torch.rand(20, 3)) < 1
    assert [module.training for module in network] == [True, False, True, True]
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(p.grad is None for p in network.parameters())


def test_a_run_in_a_hurry_measures_few_images_of_every_class(
    photos: Path, fast: dict[str, Any], tmp_path: Path, capsys: Any
) -> None:
    run = train(photos, "quick", overrides=fast | {"interference": {"minutes": 1e-6}}, out=tmp_path / "run")
    found = Interference.load(run.folder / "interference" / "train")
    assert found.counts.tolist() == [2, 2, 2]
    assert "class gradients of 6 of " in capsys.readouterr().err
