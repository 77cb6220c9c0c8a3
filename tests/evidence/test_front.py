"""What is told first: every verdict in plain words, in every size, against controls of the same size only."""

import statistics
from collections.abc import Sequence
from typing import Any

import pytest

from tailgrad.evidence.front import OTHERS, FrontClaim, front, ranked

WORDS = {"confirmed": "beats", "not confirmed": "does not beat", "cannot be told": "is not shown to beat"}
WAITS = "CSBA against controls with as many parameters: what is claimed waits to be run."
SIZES = {"csba": 1_000_000, "wider_head": 1_000_000, "se_gate": 1_004_000, "csba_shared_gate": 850_000}


def claim(against: str = "wider_head", verdict: str = "confirmed", **keys: Any) -> dict[str, Any]:
    about = {"id": f"csba-{against}", "text": f"better than {against}", "group": "g", "method": "csba"}
    found = {"value": -0.1, "low": -0.2, "high": -0.05} if verdict == "not confirmed" else {"high": 0.2}
    about |= {"against": against, "verdict": verdict, "why": "so it is", "above": 0.0, "found": found}
    return about | keys


def run(method: str, seed: int = 0, value: float = 0.5) -> dict[str, Any]:
    about = {"method": method, "parameters": SIZES.get(method), "seed": seed, "split_seed": 0}
    return about | {"test": {"macro_f1": {"value": value}}}


def record(
    *claims: dict[str, Any], size: str = "full", seeds: int = 3, runs: Sequence[dict[str, Any]] = ()
) -> dict[str, Any]:
    """A study whose group has the runs given, else one of every method that is claimed about."""
    runs = runs or [run(method) for method in dict.fromkeys(["csba", *(str(c["against"]) for c in claims)])]
    about = {"study": "s", "size": size, "seeds": list(range(seeds)), "claims": list(claims)}
    group = {"runs": list(runs), "split_sha256": ["one"], "study": {"source": "digits-lt", "own_test": True}}
    return about | {"groups": {"g": group}}


def told(*records: dict[str, Any]) -> str:
    return "\n\n".join(front(records))


@pytest.mark.parametrize("size", ["full", "cpu", "first"])
@pytest.mark.parametrize("verdict", WORDS)
def test_every_verdict_is_said_plainly_in_every_size(verdict: str, size: str) -> None:
    text = told(record(claim(verdict=verdict), size=size))
    first, line = text.split("\n\n")
    assert first.endswith(f" It {WORDS[verdict]} `wider_head` (s, g).")
    assert first.startswith("`csba` against controls with as many parameters: of 1 claim measured, ")
    assert all(f" It {word} " not in first for other, word in WORDS.items() if other != verdict)
    assert line.startswith(f"- **{verdict.capitalize()}**: better than wider_head (s")
    assert (f", size {size}: " in line) == (size != "full")


@pytest.mark.parametrize("above", [0.0, 0.05])
def test_a_gain_smaller_than_printed_or_claimed_is_not_said_to_be_none(above: float) -> None:
    found = {"value": 0.01, "low": -0.01, "high": 0.03}
    text = told(record(claim(verdict="not confirmed", above=above, printed=0.1, found=found)))
    assert "0 are confirmed, 1 is not confirmed" in text
    assert " It is not shown to beat `wider_head` (s, g)." in text
    assert "does not beat" not in text


def test_counts_and_order_put_bad_news_first() -> None:
    claims = [claim(), claim("se_gate", "cannot be told"), claim("wider_head", "not confirmed", id="other")]
    first, lines = told(record(*claims)).split("\n\n")
    assert "of 3 claims measured, 1 is confirmed, 1 is not confirmed and 1 cannot be told." in first
    starts = [line.split("**")[1] for line in lines.splitlines()]
    assert starts == ["Not confirmed", "Cannot be told", "Confirmed"]


def test_a_control_of_another_size_is_not_told() -> None:
    shared = claim("csba_shared_gate", "not confirmed")
    assert "csba_shared_gate" not in told(record(claim(), shared))
    same = record(claim(), shared)
    same["groups"]["g"]["runs"][-1]["parameters"] = 1_009_000
    assert "does not beat `csba_shared_gate`" in told(same)


@pytest.mark.parametrize("against", ["baseline", "focal"])
def test_a_rival_that_is_no_control_is_not_told(against: str) -> None:
    assert told(record(claim(against))) == WAITS


def test_remedies_of_our_own_are_told_against_their_controls() -> None:
    ours = [
        claim(control, "not confirmed", method=method, id=f"{method}-{control}")
        for method, control in (
            ("conflict_branches", "one_gate"),
            ("conflict_branches", "random_branches"),
            ("conflict_sam", "random_class_sam"),
        )
    ]
    text = told(record(*ours))
    assert "`conflict_branches` against" in text
    assert "does not beat `one_gate` (s, g), `random_branches` (s, g)." in text
    assert "`conflict_sam` against" in text


def test_a_claim_counts_in_the_best_record_that_has_measured_it() -> None:
    full = record(claim(found=None, verdict="cannot be told"), claim("se_gate", "not confirmed"))
    small = record(claim(verdict="confirmed"), claim("se_gate", "confirmed"), size="cpu")
    text = told(small, full)
    assert "It beats `wider_head` (s, g). It does not beat `se_gate` (s, g)." in text
    assert "better than wider_head (s, size cpu: " in text
    assert "better than se_gate (s: " in text
    assert "Not measured yet" not in text


def test_what_waits_is_counted_and_smoke_means_nothing() -> None:
    waits = claim("se_gate", "cannot be told", found=None)
    assert told(record(claim(), waits)).endswith("\n\nNot measured yet: 1 more of these two kinds.")
    assert told(record(claim(), size="smoke")) == told()
    sizes = [record(size=size, seeds=n) for size, n in (("cpu", 5), ("first", 1), ("full", 3), ("smoke", 9))]
    assert [content["size"] for content in ranked(sizes)["s"]] == ["full", "cpu", "first"]


def test_of_sizes_with_as_many_seeds_the_one_with_more_splits_counts() -> None:
    three, ten = ({"found": {"values": [0.1] * n, "high": 0.2}} for n in (3, 10))
    few = record(claim(verdict="cannot be told", **three), size="cpu", seeds=1)
    many = record(claim(verdict="confirmed", **ten), size="small", seeds=1)
    assert [content["size"] for content in ranked([few, many])["s"]] == ["small", "cpu"]
    assert "It beats `wider_head`" in told(few, many)


def test_a_claim_that_asks_for_it_is_told_without_being_counted() -> None:
    asked = claim("focal", "confirmed", front=True), claim("ldam", "not confirmed", front=True)
    parts = told(record(*asked)).split("\n\n")
    assert parts == [
        WAITS,
        OTHERS,
        "- **Not confirmed**: better than ldam (s: so it is).\n"
        "- **Confirmed**: better than focal (s: so it is).",
    ]


def test_controls_come_before_what_asks_for_its_place() -> None:
    asked = claim("focal", "not confirmed", front=True), claim("wider_head", front=True)
    first, controls, others, lines = told(record(*asked)).split("\n\n")
    assert first.startswith("`csba` against controls")
    assert controls == "- **Confirmed**: better than wider_head (s: so it is)."
    assert others == OTHERS
    assert lines == "- **Not confirmed**: better than focal (s: so it is)."


@pytest.mark.parametrize(
    ("others", "said"),
    [
        ([0.50, 0.52, 0.51], "it is beaten"),
        ([0.10, 0.12, 0.11], "it is better"),
        ([0.20, 0.45, 0.28], "no difference can be told"),
    ],
)
def test_runs_without_a_claim_are_told_with_their_interval(others: list[float], said: str) -> None:
    ours = [0.30, 0.31, 0.32]
    runs = [run("csba", seed, value) for seed, value in enumerate(ours)]
    runs += [run("wider_head", seed, value) for seed, value in enumerate(others)]
    runs += [run("csba_shared_gate", seed) for seed in range(3)]
    text = told(record(runs=runs, size="cpu"))
    assert text.startswith(f"{WAITS}\n\nRun side by side without a claim beforehand")
    (line,) = [line for line in text.splitlines() if line.startswith("- ")]
    change = [x - y for x, y in zip(ours, others, strict=True)]
    mean, half = statistics.mean(change), 4.302653 * statistics.stdev(change) / 3**0.5
    shown = f"{mean:+.3f} [{mean - half:+.3f}, {mean + half:+.3f}], n = 3: {said} (s, g)."
    assert line == f"- `csba` less `wider_head` on digits-lt: {shown}"


def test_one_seed_tells_nothing_and_a_claim_is_not_told_twice() -> None:
    runs = [run("csba"), run("wider_head", 0, 0.9)]
    assert "-0.400, n = 1: no difference can be told (s, g)." in told(record(runs=runs))
    assert "less `wider_head`" not in told(record(claim(), runs=runs))


def test_a_line_rounds_its_figures_and_keeps_the_rest() -> None:
    found = {"value": 0.01841, "low": 0.00003344, "high": 0.03677}
    told = claim(found=found, why="measured 0.01841 [3.344e-05, 0.03677], claimed above 0.02, printed 0.0387")
    line = FrontClaim(told, "mine", "full").line
    assert line.endswith("(mine: measured 0.018 [3.3e-05, 0.037], claimed above 0.02, printed 0.0387).")
    alone = claim(found={"value": 0.1, "low": None, "high": None}, why="0.1 without an interval (one seed)")
    assert FrontClaim(alone, "mine", "full").line.endswith("(mine: 0.1 without an interval (one seed)).")
