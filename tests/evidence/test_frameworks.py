"""The study of frameworks: one network trained four ways, against the same training written out here."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from tailgrad.data import Profile
from tailgrad.evidence.analyses.framework_training import (
    by_hugging_face,
    by_lightning,
    by_loop,
    by_scikit_learn,
)
from tailgrad.evidence.analyses.frameworks import FRAMEWORKS, OWN, analyse
from tailgrad.evidence.analyses.small_sets import SmallSet, small_set
from tailgrad.evidence.analyses.small_training import small_network
from tailgrad.evidence.lab import Lab

SETTINGS: dict[str, Any] = {"epochs": 3, "batch": 64, "width": 16}


@pytest.fixture(scope="module")
def data() -> SmallSet:
    return small_set("digits-lt", 3, profile=Profile("exponential", 20))


def written_out(data: SmallSet, balanced: bool) -> torch.Tensor:
    """Balanced softmax is cross-entropy on logits plus the logarithm of the counts (methods D.4)."""
    shift = torch.tensor(data.counts).float().log() if balanced else torch.zeros(10)
    model = small_network(64, 10, width=16, seed=3)
    step = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-4)
    torch.manual_seed(3)
    for _ in range(3):
        torch.empty((), dtype=torch.int64).random_()  # what a loader draws before its sampler does
        seed = int(torch.empty((), dtype=torch.int64).random_())
        order = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(seed))
        for index in order.split(64):
            step.zero_grad()
            F.cross_entropy(model(data.train.inputs[index]) + shift, data.train.target[index]).backward()
            step.step()
    return model(data.test.inputs).argmax(1)


@pytest.mark.parametrize("knob", ["none", "auto"])
def test_loop_and_lightning_are_the_training_written_out(data: SmallSet, knob: str) -> None:
    before = torch.get_rng_state()
    loop = by_loop(knob, data, SETTINGS, 3)
    assert torch.equal(loop, by_lightning(knob, data, SETTINGS, 3))
    assert torch.equal(torch.get_rng_state(), before)
    assert float((loop == written_out(data, knob == "auto")).float().mean()) > 0.99


def test_the_trainer_of_hugging_face_takes_the_same_steps_in_another_order(
    data: SmallSet, capsys: pytest.CaptureFixture[str]
) -> None:
    """One batch an epoch: then the order of examples makes no difference."""
    whole = SETTINGS | {"batch": len(data.train), "epochs": 20}
    for knob in ("none", "auto"):
        found, wanted = (train(knob, data, whole, 3) for train in (by_hugging_face, by_loop))
        assert float((found == wanted).float().mean()) > 0.99
    assert capsys.readouterr().out == ""


def test_scikit_learn_is_seeded_and_the_knob_changes_it(data: SmallSet) -> None:
    found = [by_scikit_learn(knob, data, SETTINGS | {"epochs": 10}, 3) for knob in ("auto", "auto", "none")]
    assert np.array_equal(found[0], found[1])
    rare = np.isin(found, [7, 8, 9]).mean(1)
    assert rare[0] > rare[2], "the corrected one finds more of the rare classes"


def test_test_parts_drawn_by_seed_widen_the_intervals(
    tmp_path: Path, data: SmallSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    def made(knob: str, data: SmallSet, _: Any, seed: int) -> torch.Tensor:
        return data.test.target.where(torch.arange(len(data.test)) % (3 + 2 * (knob == "auto") + seed) > 0, 0)

    where = analyse.__module__
    monkeypatch.setattr(f"{where}.FRAMEWORKS", dict.fromkeys(FRAMEWORKS, made))
    monkeypatch.setattr(f"{where}.OWN", {})
    settings = {"imb_factor": 20, "side": 8, "seeds": 3}
    found = {}
    for ratio in (0.0, 0.25):
        monkeypatch.setattr(f"{where}.small_set", lambda *_, r=ratio, **__: replace(data, extra_variance=r))
        lab = Lab(tmp_path / str(ratio), {"images": "x"}, {}, settings)
        found[ratio] = analyse(lab).figures
    for name in ("loop.auto", "loop.gain", "lightning.against_loop"):
        narrow, wide = (found[ratio][name] for ratio in (0.0, 0.25))
        assert wide.values == narrow.values
        assert wide.extra_variance == 0.25
    halves = [found[ratio]["loop.gain"].mean for ratio in (0.0, 0.25)]
    widths = [float(half.high) - float(half.low) for half in halves if half.high and half.low is not None]
    assert widths[1] / widths[0] == pytest.approx((1 + 3 * 0.25) ** 0.5)


def test_figures_are_differences_of_the_cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def made(name: str) -> Any:
        return lambda knob, data, _, seed: data.test.target.where(
            torch.arange(len(data.test)) % (3 + len(name) + 2 * (knob == "auto") + seed) > 0, 0
        )

    monkeypatch.setattr(f"{analyse.__module__}.FRAMEWORKS", {name: made(name) for name in FRAMEWORKS})
    monkeypatch.setattr(f"{analyse.__module__}.OWN", {"random_forest": OWN["random_forest"]})
    lab = Lab(tmp_path / "analysis", {"images": "digits-lt"}, {}, {"imb_factor": 20, "side": 8, "seeds": 2})
    found = analyse(lab).figures
    for name in FRAMEWORKS:
        gain = found[f"{name}.auto"].mean.value - found[f"{name}.none"].mean.value
        assert found[f"{name}.gain"].mean.value == pytest.approx(gain)
        assert gain > 0
    for name in ("lightning", "hugging_face", "scikit_learn"):
        against = found[f"{name}.auto"].mean.value - found["loop.auto"].mean.value
        assert found[f"{name}.against_loop"].mean.value == pytest.approx(against)
    over = found["scikit_learn.auto"].mean.value - found["random_forest"].mean.value
    assert found["scikit_learn.over_random_forest"].mean.value == pytest.approx(over)
