"""Verdicts: closed-form cases, and what must hold for every figure."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import stats

from tailgrad.evaluate import Estimate
from tailgrad.evidence import Claim, Figure, judge
from tailgrad.evidence.claim import CONFIRMED, NOT_CONFIRMED, UNKNOWN, Verdict

ORDER = {NOT_CONFIRMED: 0, UNKNOWN: 1, CONFIRMED: 2}
SPREAD = (-0.02, 0.0, 0.02)


def claim(**keys: Any) -> Claim:
    return Claim(**{"id": "c", "text": "it is so", "source": "ours", "figure": "f"} | keys)


def word(found: Figure, **keys: Any) -> str:
    return judge([claim(**keys)], {"c": found})["c"].word


def at(mean: float) -> Figure:
    """Three seeds around a mean; half of its interval is t(0.975, 2) x 0.02 / sqrt(3), about 0.0497."""
    return Figure.over([mean + change for change in SPREAD])


HALF = float(stats.t.ppf(0.975, 2)) * 0.02 / math.sqrt(3)


@pytest.mark.parametrize(
    ("mean", "above", "below"),
    [
        (HALF + 1e-6, CONFIRMED, NOT_CONFIRMED),
        (HALF - 1e-6, UNKNOWN, UNKNOWN),
        (0.0, UNKNOWN, UNKNOWN),
        (-HALF + 1e-6, UNKNOWN, UNKNOWN),
        (-HALF - 1e-6, NOT_CONFIRMED, CONFIRMED),
    ],
)
def test_a_side_is_decided_where_the_interval_leaves_the_threshold_out(
    mean: float, above: str, below: str
) -> None:
    assert (word(at(mean), above=0), word(at(mean), below=0)) == (above, below)


def test_a_printed_effect_that_the_interval_leaves_out_is_not_confirmed() -> None:
    assert word(at(0.01), above=0, printed=0.05) == UNKNOWN
    assert word(at(0.01), above=0, printed=0.01 + HALF + 1e-6) == NOT_CONFIRMED
    assert word(at(-0.01), below=0, printed=-0.05) == UNKNOWN
    assert word(at(-0.01), below=0, printed=-0.01 - HALF - 1e-6) == NOT_CONFIRMED
    assert word(at(0.06), above=0, printed=0.5) == CONFIRMED, "the claim is the side, not the size"


def test_a_claimed_side_that_only_the_correction_leaves_open_is_not_refuted_by_its_size() -> None:
    claims = [claim(above=0, printed=0.5), claim(id="d", above=0)]
    both = judge(claims, {"c": at(HALF + 1e-3), "d": at(0.0)})
    assert (both["c"].word, both["c"].p) == (UNKNOWN, pytest.approx(2 * (at(HALF + 1e-3).p(0) or 0)))
    below = judge([claim(below=0, printed=-0.5), claims[1]], {"c": at(-HALF - 1e-3), "d": at(0.0)})
    assert below["c"].word == UNKNOWN


def test_what_was_printed_is_refuted_after_the_correction_of_its_family() -> None:
    """Three seeds around 0 against eight printed figures: alone one falls short, in the family not."""
    short = HALF * 1.2
    printed = {"c": short} | {f"other-{i}": 0.0 for i in range(7)}
    claims = [claim(id=name, above=0, printed=value) for name, value in printed.items()]
    figures = {name: at(0.0) for name in printed}
    p = float(stats.ttest_1samp(at(0.0).values, short).pvalue)
    assert p < 0.05 < 8 * p
    assert judge(claims, figures)["c"].word == UNKNOWN
    assert judge(claims[:1], figures)["c"].word == NOT_CONFIRMED
    # Neither claims without a printed figure nor those of another family count.
    free = [one.model_copy(update={"printed": None}) for one in claims[1:]]
    assert judge([claims[0], *free], figures)["c"].word == NOT_CONFIRMED
    apart = [one.model_copy(update={"family": "apart"}) for one in claims[1:]]
    assert judge([claims[0], *apart], figures)["c"].word == NOT_CONFIRMED


def test_near_is_equivalence() -> None:
    assert word(at(0.5), near=0.5, within=HALF + 1e-6) == CONFIRMED
    assert word(at(0.5), near=0.5, within=HALF - 1e-6) == UNKNOWN
    assert word(at(0.5 + 2 * HALF + 1e-6), near=0.5, within=HALF) == NOT_CONFIRMED
    assert word(at(0.5 + 2 * HALF - 1e-6), near=0.5, within=HALF) == UNKNOWN


@pytest.mark.parametrize("values", [[0.3], [0.3, 0.3, 0.3]])
def test_without_spread_nothing_can_be_told(values: list[float]) -> None:
    verdict = judge([claim(above=0)], {"c": Figure.over(values)})["c"]
    assert (verdict.word, verdict.p) == (UNKNOWN, None)
    assert "0.3 without an interval" in verdict.why


def test_what_is_not_measured_cannot_be_told() -> None:
    assert judge([claim(above=0)], {})["c"].why == "not measured yet"


def test_holm_is_over_the_sided_claims_of_a_family() -> None:
    p = at(0.06).p(0)
    assert p is not None
    assert p < 0.05 < 2 * p
    alone = judge([claim(above=0)], {"c": at(0.06)})["c"]
    assert (alone.word, alone.p) == (CONFIRMED, pytest.approx(p))
    more = [claim(above=0), claim(id="d", above=0), claim(id="e", near=0.0, within=1.0)]
    both = judge(more, {"c": at(0.06), "d": at(0.0), "e": at(0.0)})
    assert (both["c"].word, both["c"].p) == (UNKNOWN, pytest.approx(2 * p))
    assert (both["e"].word, both["e"].p) == (CONFIRMED, None)
    assert judge(more, {"c": at(0.06)})["c"].p == pytest.approx(2 * p), "one that waits is a test too"
    assert judge(more, {"c": at(0.06)})["d"] == Verdict(UNKNOWN, "not measured yet")
    apart = [more[0], claim(id="d", above=0, family="another question")]
    assert judge(apart, {"c": at(0.06), "d": at(0.0)})["c"] == alone


def test_the_reason_gives_all_figures() -> None:
    why = judge([claim(above=0, printed=0.039)], {"c": at(0.1)})["c"].why
    assert why == "measured 0.1 [0.05032, 0.1497], claimed above 0, printed 0.039"
    why = judge([claim(near=0.1, within=0.2)], {"c": at(0.1)})["c"].why
    assert why.endswith("wanted 0.1 within 0.2")


@given(
    values=st.lists(st.floats(-1, 1), min_size=2, max_size=6),
    change=st.floats(0, 2),
    threshold=st.floats(-1, 1),
    printed=st.none() | st.floats(-1, 1),
)
def test_a_higher_figure_never_speaks_less_for_above(
    values: list[float], change: float, threshold: float, printed: float | None
) -> None:
    lower, higher = Figure.over(values), Figure.over([value + change for value in values])
    if lower.mean.low is None or higher.mean.low is None:
        return
    for key, sign in (("above", 1), ("below", -1)):
        told = [ORDER[word(found, **{key: threshold}, printed=printed)] for found in (lower, higher)]
        assert sign * told[0] <= sign * told[1]


@given(values=st.lists(st.floats(-1, 1), min_size=2, max_size=6), threshold=st.floats(-1, 1))
def test_above_and_below_are_never_both_confirmed(values: list[float], threshold: float) -> None:
    found = Figure.over(values)
    told = {word(found, above=threshold), word(found, below=threshold)}
    assert told in ({UNKNOWN}, {CONFIRMED, NOT_CONFIRMED})


@given(values=st.lists(st.floats(-1, 1), min_size=2, max_size=6), within=st.floats(1e-3, 3))
def test_a_wider_tolerance_never_takes_a_confirmation_back(values: list[float], within: float) -> None:
    found = Figure.over(values)
    narrow, wide = (ORDER[word(found, near=0.0, within=w)] for w in (within, 1.5 * within))
    assert narrow <= wide


def test_an_interval_made_otherwise_is_taken_as_normal() -> None:
    found = Figure(Estimate(0.3, 0.3 - 1.959964 * 0.1, 0.3 + 1.959964 * 0.1, "bootstrap"))
    assert found.p(0) == pytest.approx(2 * stats.norm.sf(3), rel=1e-5)
    assert word(found, above=0) == CONFIRMED
    assert Figure(Estimate(0.3, 0.3, 0.3, "exact")).p(0) is None


def test_an_interval_of_few_seeds_gives_the_p_value_of_its_student_quantile() -> None:
    values = [0.1, 0.4, 0.3, 0.2, 0.6]
    known = Figure.over(values)
    found = Figure(known.mean, degrees=len(values) - 1)
    for against in (0.0, 0.2, 0.9):
        assert found.p(against) == pytest.approx(stats.ttest_1samp(values, against).pvalue)
    assert Figure.from_dict(found.to_dict()) == found


def test_an_end_that_a_bound_cuts_short_makes_no_finding() -> None:
    whole, cut = (Figure(Estimate(0.9, -0.1, high, "jackknife"), degrees=4) for high in (1.9, 1.0))
    assert cut.p(0) == whole.p(0)
    assert word(cut, above=0) == UNKNOWN


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"above": 0, "below": 1},
        {"near": 0.5},
        {"above": 0, "within": 0.1},
        {"near": 0.5, "within": 0},
        {"above": 0, "figure": None},
        {"above": 0, "group": "g", "method": "m"},
        {"above": 0, "figure": None, "group": "g"},
        {"above": 0, "id": "a b"},
        {"above": 0, "figgure": "x"},
    ],
)
def test_a_claim_that_says_nothing_definite_is_refused(keys: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        claim(**keys)


@pytest.mark.parametrize(
    "rule", [{"above": math.nan}, {"below": math.inf}, {"near": 0.0, "within": math.inf}]
)
def test_a_rule_that_no_figure_can_fail_or_meet_is_refused(rule: dict[str, float]) -> None:
    with pytest.raises(ValidationError, match="finite number"):
        claim(**rule)
