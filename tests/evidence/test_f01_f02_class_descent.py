"""Two classes, a linear network at zero: every first step has a closed form to hold the descent against."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tailgrad.evidence import read_study
from tailgrad.evidence.analyses.class_descent import Descent, descend, normalised, plain
from tailgrad.evidence.analyses.small_sets import Part, small_set

RATE = 0.5
NUMBERS = st.floats(-2, 2).filter(lambda x: abs(x) > 0.05)


def _zero_network() -> nn.Module:
    net = nn.Linear(2, 2, bias=False, dtype=torch.float64)
    nn.init.zeros_(net.weight)
    return net


def _first_step(major: list[float], minor: list[float], direction: object, share: float = 0.9) -> Descent:
    part = Part(torch.tensor([major, minor], dtype=torch.float64), torch.arange(2))
    shares = torch.tensor([share, 1 - share], dtype=torch.float64)
    return descend(_zero_network(), part, [part], direction, rate=RATE, num_classes=2, shares=shares)  # type: ignore[arg-type]


def test_the_first_step_of_descent_is_the_closed_form() -> None:
    # z_1 - z_0 at the minority's mean m_1 is rate (pi_1 |m_1|^2 - pi_0 <m_0, m_1>) after one step from 0.
    major, minor = [1.0, 0.5], [0.8, -0.1]
    found = _first_step(major, minor, plain)
    both = float(np.dot(major, minor))
    margin = RATE * (0.1 * float(np.dot(minor, minor)) - 0.9 * both)
    assert found.losses[0] == pytest.approx([math.log(2)] * 2)
    assert found.losses[1][1] == pytest.approx(math.log1p(math.exp(-margin)))
    assert found.predicted[1] == pytest.approx(-margin / 2)


def test_the_minority_rises_under_descent_and_not_when_normalised() -> None:
    major, minor = [1.0, 0.5], [0.8, -0.1]
    drop, spared = (_first_step(major, minor, direction) for direction in (plain, normalised))
    assert drop.losses[1][1] > math.log(2) > spared.losses[1][1]
    assert drop.alignment[0][1] < 0 < spared.alignment[0][1]
    assert drop.rise((1,)) > 0 > spared.rise((1,))


@settings(max_examples=40, deadline=None)
@given(major=st.tuples(NUMBERS, NUMBERS), minor=st.tuples(NUMBERS, NUMBERS), share=st.floats(0.5, 0.999))
def test_two_classes_never_climb_to_first_order_when_normalised(
    major: tuple[float, float], minor: tuple[float, float], share: float
) -> None:
    a, b = np.array(major), np.array(minor)
    cosine = float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
    assume(cosine < 0.999)  # opposed gradients leave no step at all
    found = _first_step(list(major), list(minor), normalised, share)
    # The gradients have cosine -cos(m_0, m_1), and the step halves the angle between them.
    assert found.alignment[0] == pytest.approx([math.sqrt((1 - cosine) / 2)] * 2, abs=1e-5)


def test_shares_stand_for_repeated_examples() -> None:
    torch.manual_seed(0)
    x = torch.randn(5, 2, dtype=torch.float64)
    few = Part(x, torch.tensor([0, 0, 1, 1, 1]))
    many = few.some(torch.tensor([0, 1] * 9 + [2, 3, 4]))
    by_share = descend(
        _zero_network(),
        few,
        [few] * 5,
        plain,
        rate=RATE,
        num_classes=2,
        shares=torch.tensor([18 / 21, 3 / 21]),
    )
    by_count = descend(_zero_network(), few, [many] * 5, plain, rate=RATE, num_classes=2)
    assert by_share.losses == pytest.approx(np.array(by_count.losses), abs=1e-6)


def test_a_descent_that_diverges_ends_with_the_worst_loss() -> None:
    part = Part(torch.tensor([[1e20, 0.0], [1e20, 1.0]]), torch.arange(2))
    found = descend(_zero_network().float(), part, [part] * 50, plain, rate=1e20, num_classes=2)
    assert len(found.losses) < 51
    assert found.losses[-1] == [1e6, 1e6]
    assert found.rise((0, 1)) > 1000


def test_a_small_set_is_the_same_for_the_same_seed_and_keeps_the_test_part() -> None:
    first, again, other = (small_set("digits-lt", seed, classes=(3, 8)) for seed in (0, 0, 1))
    assert torch.equal(first.train.inputs, again.train.inputs)
    assert not torch.equal(first.train.inputs[:20], other.train.inputs[:20])
    assert first.extra_variance == 0
    assert sorted(_counts(first.test.target)) == sorted(_counts(other.test.target)) == [50, 50]


def _counts(target: Tensor) -> list[int]:
    found: list[int] = target.bincount().tolist()
    return found


def test_the_claim_about_balance_is_about_the_mean_where_single_seeds_rise() -> None:
    results = Path(__file__).parents[2] / "results" / "f01-minority-initial-drop.cpu" / "evidence.json"
    spares = {claim["id"]: claim for claim in json.loads(results.read_text())["claims"]}["balance-spares"]
    text = {claim.id: claim.text for claim in read_study("f01-minority-initial-drop").claims}[
        "balance-spares"
    ]
    assert "on average" in text or max(spares["found"]["values"]) < spares["below"]
