"""What a trial chooses, from times given to it and from times it takes."""

import math
import time
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from tailgrad.checks import InputError
from tailgrad.engine import Trial, choose_speed, fastest, parts_of, time_steps, time_ways
from tailgrad.models import create_model

PLAIN = Trial("float32", channels_last=False, seconds=1.0)


class _Slow(nn.Module):
    """Takes a set time in one precision and layout, and as long again to compile."""

    def __init__(self, seconds: dict[tuple[bool, bool], float]) -> None:
        super().__init__()
        self.seconds = seconds
        self.conv = nn.Conv2d(3, 2, 1)

    def forward(self, images: Tensor) -> Tensor:
        last = images.is_contiguous(memory_format=torch.channels_last)
        time.sleep(self.seconds[torch.is_autocast_enabled("cpu"), last])
        return self.conv(images).mean((2, 3))


@pytest.mark.parametrize("quick", [(True, True), (True, False), (False, True), (False, False)])
def test_the_fastest_way_is_found(quick: tuple[bool, bool]) -> None:
    slow = {(half, last): 0.06 for half in (False, True) for last in (False, True)}
    found = choose_speed(_Slow(slow | {quick: 0.02}), torch.rand(2, 3, 4, 4), repeats=3)
    assert (found.precision == "bfloat16", found.channels_last) == quick
    assert 0.01 < found.seconds < 0.06


@given(st.lists(st.floats(0.901, 3.0), max_size=5))
def test_a_small_gain_changes_nothing(seconds: list[float]) -> None:
    others = [replace(PLAIN, precision="bfloat16", seconds=value) for value in seconds]
    assert fastest([PLAIN, *others], steps=10**9) is PLAIN


@given(
    eager=st.floats(0.1, 3.0),
    compiled=st.floats(0.1, 3.0),
    price=st.floats(0, 300),
    steps=st.integers(0, 10**5),
)
def test_compilation_has_to_earn_its_price_twice(
    eager: float, compiled: float, price: float, steps: int
) -> None:
    ways = [
        PLAIN,
        replace(PLAIN, precision="bfloat16", seconds=eager),
        replace(PLAIN, precision="bfloat16", seconds=compiled, compile="default", compile_seconds=price),
    ]
    found = fastest(ways, steps)
    best = eager if eager < 0.9 else 1.0
    if found.compile == "default":
        assert compiled < 0.9 * best
        assert steps * (best - compiled) >= 1.999 * price
    else:
        assert found.seconds == best
        assert compiled >= 0.9 * best or steps * (best - compiled) <= 2.001 * price


def test_pays_after() -> None:
    assert replace(PLAIN, seconds=0.75, compile_seconds=10).pays_after(PLAIN) == 40
    assert math.isinf(replace(PLAIN, seconds=1.5, compile_seconds=10).pays_after(PLAIN))


def test_model_random_state_and_gradients_stay() -> None:
    model = create_model("resnet32", num_classes=3)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    images, state = torch.rand(2, 3, 32, 32), torch.get_rng_state()
    ways = [replace(PLAIN), replace(PLAIN, fused=True)]
    found = time_ways(model, images, ways, repeats=1)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert [trial.fused for trial in found] == [False, True]
    assert [trial.compile_seconds for trial in found] == [0.0, 0.0]


def test_the_step_that_is_timed_updates_with_the_optimiser_given() -> None:
    made: list[tuple[int, bool]] = []

    def make(parameters: Any, fused: bool) -> torch.optim.Optimizer:
        listed = list(parameters)
        made.append((len(listed), fused))
        return torch.optim.Adam(listed, fused=fused)

    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 4))
    time_ways(
        net, torch.rand(3, 3, 2, 2), [PLAIN, replace(PLAIN, fused=True)], make_optimizer=make, repeats=1
    )
    assert made == [(2, False), (2, True)]


def test_the_first_step_of_a_compiled_way_is_its_price(monkeypatch: pytest.MonkeyPatch) -> None:
    def compile_slowly(call: Any, **_: object) -> Any:
        first = iter([True])

        def run(*inputs: Any) -> Any:
            time.sleep(0.3 * next(first, False))
            return call(*inputs)

        return run

    monkeypatch.setattr(torch, "compile", compile_slowly)
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 4))
    plain, compiled = time_ways(net, torch.rand(3, 3, 2, 2), [PLAIN, replace(PLAIN, compile="default")])
    assert plain.compile_seconds == 0
    assert compiled.compile_seconds > 0.25
    assert compiled.seconds < 0.2


def test_backbone_and_head_are_the_parts() -> None:
    model = create_model("resnet32", num_classes=3)
    assert parts_of(model) == [model.backbone, model.head]


def test_times_are_medians() -> None:
    pauses = iter([0.2, 0.0, 0.1, 0.0])  # a warm-up, then three
    assert time_steps(lambda: time.sleep(next(pauses))) < 0.05


@pytest.mark.parametrize("wrong", [{"precision": "float16"}, {"compile": "max-autotune"}])
def test_unknown_ways_are_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(InputError, match=f"train.{next(iter(wrong))} must be a known name"):
        replace(PLAIN, **wrong)  # type: ignore[arg-type]
