"""What is said before training: steps, time and corrections, counted by hand."""

import io
import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from tailgrad.correction_ledger import ledger
from tailgrad.data.resident_loader import ResidentLoader
from tailgrad.recipes.announce import announce
from tailgrad.recipes.compose import validate
from tailgrad.recipes.talk import Talk, duration
from tailgrad.types import ClassInfo, Correction

COUNTS = (50, 20, 6)
TARGET = torch.tensor(np.repeat([0, 1, 2], COUNTS))
VALIDATION = 40


def _said(
    runs_left: int = 0,
    seconds: float = 1.0,
    corrections: tuple[Any, ...] = (),
    work_left: float | None = None,
    **parts: Any,
) -> str:
    stream = io.StringIO()
    say = Talk(Console(file=stream, width=10_000))
    say.runs_left, say.is_study, say.work_left = runs_left or 1, runs_left > 0, work_left
    train = {"batch_size": 8, "epochs": 3, "precision": "float32", "channels_last": True}
    config = validate({"source": "x", "method": "mine", **parts, "train": train | parts.get("train", {})})

    def loader(_part: str, batch_size: int, seed: int) -> ResidentLoader:
        images, places = torch.zeros(76, 3, 2, 2, dtype=torch.uint8), torch.arange(76)
        return ResidentLoader(images, TARGET, places, batch_size=batch_size, seed=seed)

    classes = ClassInfo(("a", "b", "c"), COUNTS)
    split, source = SimpleNamespace(val=range(VALIDATION)), SimpleNamespace(indicators=None)
    ready = SimpleNamespace(loader=loader, classes=classes, split=split, source=source)
    prior = ledger(corrections, COUNTS, class_names=classes.names)
    announce(SimpleNamespace(config=config, ready=ready, say=say, prior=prior), seconds)
    return stream.getvalue()


def _sampler(name: str, **options: Any) -> dict[str, Any]:
    return {"sampler": {"name": name, "options": options}}


@pytest.mark.parametrize(
    ("parts", "places"),
    [
        ({}, 76),
        (_sampler("instance"), 76),
        (_sampler("class_balanced"), 76),
        (_sampler("over"), 3 * 50),
        (_sampler("over", ratio=0.5), 50 + 25 + 25),
        (_sampler("under"), 3 * 6),
        (_sampler("under", ratio=2.0), 12 + 12 + 6),
        (_sampler("stratified"), 80),
        (_sampler("m_per_class", m=4), 80),
        ({"train": {"batch_size": 15}}, 75),  # one is left over, and joins the batch before
    ],
)
def test_steps_are_those_of_the_sampler(parts: dict[str, Any], places: int) -> None:
    size = parts.get("train", {}).get("batch_size", 8)
    assert f"at most 3 epochs of {math.ceil(places / size)} steps" in _said(**parts)


@pytest.mark.parametrize(
    ("parts", "cost"),
    [
        ({}, 1),
        ({"sharpness": {"name": "sam"}}, 2),
        ({"combine": {"name": "pcgrad"}}, (1 + 2 * 3) / 3),  # a backward pass for each of three classes
        ({"combine": {"name": "share_balancer"}}, 1),
        ({"auxiliary": {"name": "nt_xent"}}, 3),  # the images and two views
        ({"auxiliary": {"name": "nt_xent", "weight": 0.0}}, 1),
        ({"auxiliary": {"name": "nt_xent", "views": 3}, "sharpness": {"name": "sam"}}, 8),
    ],
)
def test_time_grows_with_the_passes_of_a_step(parts: dict[str, Any], cost: float) -> None:
    validation = 0.3 * VALIDATION / 8
    seconds = 3 * 100 * (10 * cost + validation)
    assert f"steps, about {duration(seconds)}\n" in _said(seconds=100.0, **parts)


def test_a_batch_smaller_than_the_classes_bounds_the_passes() -> None:
    two = {"combine": {"name": "pcgrad"}, "train": {"batch_size": 2}}
    seconds = 3 * 100 * (38 * (1 + 2 * 2) / 3 + 0.3 * VALIDATION / 2)
    assert f"about {duration(seconds)}\n" in _said(seconds=100.0, **two)


def test_a_study_says_what_is_left_of_it() -> None:
    one = 3 * 20 * (10 + 1.5)
    words = f"about {duration(one)} a run, {duration(7 * one)} for the 7 runs left"
    assert words in _said(runs_left=7, seconds=20.0)


def test_what_is_left_takes_the_passes_and_stages_of_the_other_runs() -> None:
    say = Talk(None)
    assert say.work_left is None
    one = 3 * 20 * (10 + 1.5)
    words = f"about {duration(one)} a run, {duration(5 * one)} for the 2 runs left"
    assert words in _said(runs_left=2, seconds=20.0, work_left=15.0), "three epochs are a fifth of fifteen"


def test_precision_and_layout_are_said() -> None:
    assert _said().startswith("mine on tripath: float32, channels last; ")
    other = _said(train={"channels_last": False, "precision": "bfloat16"})
    assert other.startswith("mine on tripath: bfloat16, contiguous; ")


def test_the_ledger_is_said_whole_once_and_in_a_line_in_studies() -> None:
    weights = Correction("weight", tuple(float(-np.log(n)) for n in COUNTS))
    named = (("weights", weights),)
    alone, many = _said(corrections=named), _said(runs_left=2, corrections=named)
    assert _said(runs_left=1, corrections=named).splitlines()[1:] == many.splitlines()[1:]
    assert len(_said().splitlines()) == 1
    whole = str(ledger(named, COUNTS, class_names=("a", "b", "c")))
    assert alone.splitlines()[1:] == whole.splitlines()
    assert many.splitlines()[1:] == [f"class prior: {whole.splitlines()[-1]}"]
