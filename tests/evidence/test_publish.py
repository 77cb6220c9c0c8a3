"""What is committed of a study: bounded, without paths, with an honest chart."""

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tailgrad.checks import InputError
from tailgrad.evidence import Evidence, publish
from tailgrad.evidence.chart import LEFT, RIGHT, WIDTH, chart
from tailgrad.evidence.publish import committed

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def content() -> dict[str, Any]:
    classes = [{"name": f"class {k}", "f1": {"value": k / 3, "low": 0.1, "high": 0.9}} for k in range(3)]
    test = {"macro_f1": {"value": 1 / 3}, "confusion": [[9] * 3] * 3, "classes": classes, "groups": []}
    rows = [
        {"method": m, "metric": "macro_f1", "mean": mean, "low": mean - 0.1, "high": mean + 0.1, "n": 2}
        | {"per_seed": [mean - 0.02, mean + 0.02]}
        for m, mean in (("ce", 0.3), ("csba", 0.45))
    ]
    found = {"value": 0.15, "low": 0.05, "high": 0.25, "how": "t", "values": [0.1, 0.2], "what": "x"}
    claim = {"id": "gain", "text": "better", "source": "T", "above": 0.0, "printed": 0.3, "found": found}
    claim |= {"verdict": "confirmed", "why": "so", "p_holm": 0.01}
    return {
        "study": "mine",
        "size": "full",
        "claims": [claim, claim | {"id": "open", "found": None, "verdict": "cannot be told"}],
        "groups": {"g": {"comparison": {"metric": "macro_f1", "rows": rows}, "runs": [{"test": test}]}},
        "figures": {"x": {**found}},
        "seeds": [0, 1],
    }


def test_a_whole_study_is_kept_without_a_path(whole: Any, tmp_path: Path) -> None:
    place = publish(whole, tmp_path / "results")
    assert place == tmp_path / "results" / "tiny.full"
    text = (place / "evidence.json").read_text()
    assert len(text.encode()) < 10**6
    for private in (str(whole.folder), str(whole.folder.parents[1]), "00.png", str(Path.home())):
        assert private not in text
    kept = json.loads(text)
    assert kept["left_out"] == []
    assert [claim["verdict"] for claim in kept["claims"]] == list(whole.verdicts.values())
    value = whole.content["groups"]["fixed"]["comparison"]["rows"][0]["mean"]
    assert kept["groups"]["fixed"]["comparison"]["rows"][0]["mean"] == pytest.approx(value, rel=1e-5)
    ElementTree.parse(place / "chart.svg")


def test_a_record_keeps_figures_that_a_part_of_the_study_lacks(
    content: dict[str, Any], tmp_path: Path
) -> None:
    place = publish(Evidence(tmp_path, content | {"tables": []}), tmp_path / "results")
    before = (place / "evidence.json").read_bytes()
    waits = [claim | {"found": None} for claim in content["claims"]]
    with pytest.raises(InputError, match=r"must not lose figures.*\(gain\).*run the other groups too"):
        publish(Evidence(tmp_path, content | {"claims": waits}), tmp_path / "results")
    assert (place / "evidence.json").read_bytes() == before
    publish(Evidence(tmp_path, content | {"claims": content["claims"][:1]}), tmp_path / "results")
    (place / "evidence.json").write_text("[]", encoding="utf-8")
    with pytest.raises(InputError, match="remove it, or restore it"):
        publish(Evidence(tmp_path, content), tmp_path / "results")


def test_detail_is_left_out_until_it_fits(content: dict[str, Any]) -> None:
    before = json.dumps(content)
    steps = ["confusion matrices", "figures of single classes", "figures of single units"]
    room = 10**6
    for left_out in (steps[:0], steps[:1], steps[:2], steps[:3]):
        found = committed(content, room)
        assert found["left_out"] == left_out
        assert found["groups"]["g"]["runs"][0]["test"]["macro_f1"]["value"] == 0.333333
        assert found["claims"][0]["found"]["low"] == 0.05, "verdicts keep their figures"
        room = len(json.dumps(found, indent=2)) - 1
    assert json.dumps(content) == before, "the study itself stays whole"


def rows_of(image: ElementTree.Element) -> list[ElementTree.Element]:
    """Parts of the picture that hold a measured dot."""
    return [part for part in image if any(c.get("r") == "5.5" for c in part.iter(f"{SVG}circle"))]


def share(x: str | None) -> float:
    return (float(x or "nan") - LEFT) / (WIDTH - LEFT - RIGHT)


def test_marks_of_a_group_lie_where_the_figures_are(content: dict[str, Any]) -> None:
    image = ElementTree.fromstring(chart(content))
    _, *methods = rows_of(image)
    for part, row in zip(methods, content["groups"]["g"]["comparison"]["rows"], strict=True):
        circles = list(part.iter(f"{SVG}circle"))
        assert share(circles[-1].get("cx")) == pytest.approx(row["mean"], abs=1e-3)
        assert [share(c.get("cx")) for c in circles[:-1]] == pytest.approx(row["per_seed"], abs=1e-3)
        thick = next(line for line in part.iter(f"{SVG}line") if line.get("stroke-width") == "3")
        ends = share(thick.get("x1")), share(thick.get("x2"))
        assert ends == pytest.approx((row["low"], row["high"]), abs=1e-3)


def test_a_claim_is_drawn_around_what_is_claimed(content: dict[str, Any]) -> None:
    part, *_ = rows_of(ElementTree.fromstring(chart(content)))
    upright = next(line for line in part.iter(f"{SVG}line") if line.get("x1") == line.get("x2"))
    assert share(upright.get("x1")) == pytest.approx(0.5, abs=1e-3)
    dot = next(part.iter(f"{SVG}circle"))
    assert share(dot.get("cx")) == pytest.approx(0.5 + 0.5 * 0.15 / 0.3, abs=1e-3)
    diamond = str(next(part.iter(f"{SVG}path")).get("d"))
    assert share(diamond[1:].split()[0]) == pytest.approx(1.0, abs=1e-3), "printed is the farthest from 0"


def test_a_figure_within_its_tolerance_is_drawn_within_it(content: dict[str, Any]) -> None:
    found = {"value": 1.02, "low": 1.01, "high": 1.03}
    claim = content["claims"][0] | {
        "above": None,
        "near": 1.0,
        "within": 0.1,
        "printed": None,
        "found": found,
    }
    drawn = ElementTree.fromstring(chart(content | {"claims": [claim], "groups": {}}))
    (band,) = [box for box in drawn.iter(f"{SVG}rect") if box.get("x") is not None]
    left, right = float(band.get("x", "")), float(band.get("x", "")) + float(band.get("width", ""))
    (dot,) = drawn.iter(f"{SVG}circle")
    assert (left, right) == (LEFT, WIDTH - RIGHT)
    share = (float(dot.get("cx", "")) - left) / (right - left)
    assert share == pytest.approx(0.5 + 0.02 / 0.2, abs=1e-3)


def test_what_was_not_measured_is_not_drawn(content: dict[str, Any]) -> None:
    texts = [text.text for text in ElementTree.fromstring(chart(content)).iter(f"{SVG}text")]
    assert "gain" in texts
    assert "open" not in texts
    for row in content["groups"]["g"]["comparison"]["rows"]:
        row |= {"low": None, "high": None}
    content["claims"] = []
    lines = ElementTree.fromstring(chart(content)).iter(f"{SVG}line")
    assert not [line for line in lines if line.get("stroke-width") == "3"]


def test_names_are_escaped_and_everything_lies_within_the_picture(content: dict[str, Any]) -> None:
    content["claims"] = [claim | {"id": "a<b>&" + "x" * 60} for claim in content["claims"]] * 20
    image = ElementTree.fromstring(chart(content))
    _, _, _, height = map(float, str(image.get("viewBox")).split())
    places = [float(str(part.get("transform")).split()[1].rstrip(")")) for part in image.findall(f"{SVG}g")]
    assert places == sorted(places)
    assert places[-1] < height
