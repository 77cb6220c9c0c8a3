import html

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailgrad.report.wording import duration, flat, interval, p_value, plot_label, short


@given(st.text(max_size=400), st.integers(2, 60))
def test_short_names_fit_and_stay_on_one_line(name: str, length: int) -> None:
    cut = short(name, length)
    assert len(cut) <= length + 1
    assert "\n" not in cut
    if len(" ".join(name.split())) <= length:
        assert cut == " ".join(name.split())


@given(st.text(max_size=80))
def test_plot_labels_hold_no_tag_and_read_back(name: str) -> None:
    label = plot_label(name, 100)
    assert "<" not in label
    assert html.unescape(label) == " ".join(name.split())


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (119, "119 s"), (121, "2 min"), (3600, "1 h 0 min"), (7380, "2 h 3 min")],
)
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_missing_ends_and_tiny_p_values() -> None:
    assert interval(0.1, None) == "\u2013"
    assert interval(float("nan"), 0.2) == "\u2013 to 0.200"
    assert (p_value(0.001), p_value(0.00099), p_value(1.0)) == ("0.001", "< 0.001", "1.000")


def test_empty_branches_of_a_configuration_are_kept() -> None:
    assert flat({"a": {"b": {}, "c": [1]}, "d": None}) == [("a.b", "{}"), ("a.c", "[1]"), ("d", "None")]
