import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailgrad.report.blocks import Card, Figure, Folded, Grid, Page, Section, Table, Text
from tailgrad.report.html_page import html_page, script_json

NASTY = "</script><script>alert(1)</script>\"'&\u2028"


@given(st.recursive(st.text() | st.floats(-1e6, 1e6) | st.none(), lambda inner: st.lists(inner, max_size=4)))
def test_script_json_reads_back_and_cannot_end_its_element(value: object) -> None:
    text = str(script_json({"value": value}))
    assert json.loads(text) == {"value": value}
    assert not set("<>&\u2028\u2029") & set(text)


def test_numbers_that_json_cannot_hold_are_refused() -> None:
    with pytest.raises(ValueError, match="JSON"):
        script_json([float("nan")])


def test_every_block_escapes_every_text() -> None:
    figure = Figure(NASTY, NASTY, NASTY, {"data": [{"name": NASTY}], "layout": {"height": 100}})
    blocks = (
        Text(NASTY),
        Table(NASTY, (NASTY, NASTY), ((NASTY, NASTY),)),
        Grid((figure,)),
        Folded(NASTY, (Text(NASTY),)),
    )
    page = Page(NASTY, (NASTY,), (Card(NASTY, NASTY, NASTY),), NASTY, (Section(NASTY, blocks),))
    ours = html_page(page).split("plotly.js")[0]
    assert "<script>alert" not in ours
    assert "</script><script>" not in ours
    assert ours.count("&lt;/script&gt;&lt;script&gt;alert(1)") >= 15


def test_empty_sections_and_their_links_are_left_out() -> None:
    sections = (Section("Shown here", (Text("words"),)), Section("Not shown", ()))
    html = html_page(Page("Title", (), (), "", sections))
    assert 'href="#shown-here"' in html
    assert "Not shown" not in html


def test_names_that_no_encoding_holds_do_not_stop_a_report() -> None:
    html = html_page(Page("caf\udce9", (), (), "", ()))
    assert "<h1>caf?</h1>" in html
