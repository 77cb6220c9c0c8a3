"""Pages quote only figures that stand in ``results/``, and say where: see CONTRIBUTING.md, "Evidence"."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
MADE = "<!-- made by docs/generate.py"
PAGES = [
    page
    for page in (ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md")))
    if not page.read_text(encoding="utf-8").startswith(MADE)
]
NUMBER = r"(?<![\w.,/-])[-+]?\d[\d,]*(?:\.\d+)?"
UNIT = r"(?:times|%|seconds|GB|MB|bytes|points|percentage points|images a second)(?![\w-])"
METRIC = r"(?:macro-F1|accuracy|faster|slower|takes? \d)"
LEVEL = re.compile(r"9[05] % (?:intervals?|ones|confidence)|(?:intervals?|level)[^.;]{0,20} 9[05] %")
ENTRY = re.compile(
    r"(?P<printed>[-+]?[\d,.]+) = (?:(?P<factor>-?[\d.]+) \* )?(?:(?P<of>min|max) )?(?P<file>\S+) (?P<key>.+)"
)


@dataclass
class Segment:
    """A paragraph, table or item of a list, and what the mark below it says."""

    place: str
    text: str
    entries: list[str] = field(default_factory=list)
    excused: bool = False


def segments(page: Path) -> list[Segment]:
    """The prose of a page with its marks; code is left out."""
    text = re.sub(r"(?ms)^ *```.*?^ *```$", "", page.read_text(encoding="utf-8"))
    text = re.sub(r"(?m)^#+ .*$", "", text)
    found = []
    for number, part in enumerate(re.split(r"\n\s*\n(?!\s*<!-- (?:figures|no measurement))|\n(?=- )", text)):
        begin = 0
        for mark in re.finditer(r"<!-- (figures|no measurement:)(.*?)-->", part, re.DOTALL):
            lines = [line.strip() for line in mark[2].strip().splitlines()]
            excused = mark[1] != "figures"
            found.append(
                Segment(
                    f"{page.name}, part {number}",
                    part[begin : mark.start()],
                    [] if excused else lines,
                    excused=excused and len(mark[2].split()) > 1,
                )
            )
            begin = mark.end()
        found.append(Segment(f"{page.name}, part {number}", part[begin:]))
    return found


def suspicious(text: str) -> Iterator[str]:
    """Numbers that read like something measured."""
    text = LEVEL.sub("", " ".join(re.sub(r"`[^`]*`|\]\([^)]*\)", "", text).split()))
    for found in re.finditer(rf"({NUMBER})(?: (?:to|and) ({NUMBER}))? {UNIT}", text):
        yield from (number for number in found.groups() if number)
    for found in re.finditer(rf"{METRIC}[^.;:()]{{0,30}}? ({NUMBER})", text):
        yield found[1]


def lookup(content: Any, key: str) -> Iterator[float]:
    """Figures at a path of keys; ``*`` is any that leads on, ``rows[a=b]`` the row of a list where a is b."""
    if not key:
        yield float(content)
        return
    step = re.match(r"(?P<name>[^.\[]+)(?:\[(?P<where>[^\]]+)\])?\.?", key)
    assert step is not None, key
    rest = key[step.end() :]
    if step["name"] == "*":
        further = rest.partition(".")[0]
        for value in content.values():
            if isinstance(value, dict) and further in value:
                yield from lookup(value, rest)
        return
    value = content[int(step["name"]) if isinstance(content, list) else step["name"]]
    if step["where"]:
        wanted = dict(pair.split("=") for pair in step["where"].split(","))
        value = next(row for row in value if all(str(row[k]) == v for k, v in wanted.items()))
    yield from lookup(value, rest)


def measured(entry: str) -> tuple[str, float]:
    """What a line of a mark says is printed, and the figure that it names."""
    found = ENTRY.fullmatch(entry)
    assert found is not None, f"{entry!r} must be: NUMBER = [FACTOR *] [min|max] FILE KEY"
    content = json.loads((ROOT / "results" / f"{found['file']}.json").read_text(encoding="utf-8"))
    values = [float(found["factor"] or 1) * value for value in lookup(content, found["key"])]
    assert values, f"{entry!r} names nothing"
    assert found["of"] or len(values) == 1, f"{entry!r} names several figures: write min or max"
    return found["printed"], min(values) if found["of"] == "min" else max(values)


def digits(number: str) -> str:
    return number.replace(",", "").lstrip("+")


def check(segment: Segment) -> None:
    known = set()
    for entry in segment.entries:
        printed, value = measured(entry)
        _, _, decimals = printed.partition(".")
        assert abs(float(digits(printed)) - value) <= 0.5000001 * 10 ** -len(decimals), (
            f"{segment.place} quotes {printed}, results/ has {value:.6g} ({entry})"
        )
        assert re.search(rf"(?<![\d.]){re.escape(printed)}(?!\d)", segment.text), (
            f"{segment.place} does not quote {printed} ({entry})"
        )
        known.add(digits(printed))
    if not segment.excused:
        unknown = [number for number in suspicious(segment.text) if digits(number) not in known]
        assert not unknown, (
            f"{segment.place} quotes {', '.join(unknown)} without a mark that says where it stands in "
            f"results/ (CONTRIBUTING.md, Evidence): {' '.join(segment.text.split())[:200]}"
        )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_quoted_figures_stand_in_results(page: Path) -> None:
    for segment in segments(page):
        check(segment)


def test_pages_quote_figures_at_all() -> None:
    assert sum(len(segment.entries) for page in PAGES for segment in segments(page)) > 20


STEP = "\n<!-- figures\n1.00 = bench-heads-cpu step.ratio_median\n"
SHARE = "4 = 100 * bench-scale-cpu forward.resnet32.evaluation_over_forward"
LEAST = "0.19 = min bench-scale-cpu heads.*.exponent"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("It is 3.1 times as fast.\n", "quotes 3.1 without a mark"),
        ("Accuracy rose by 4 to 5 points.\n", "quotes 4, 5 without a mark"),
        ("Its macro-F1 is 0.61.\n", "quotes 0.61 without a mark"),
        ("3.1 times\n<!-- figures\n3.1 = bench-heads-cpu step.ratio_median\n-->", "results/ has 0.99"),
        (f"It is fast.{STEP}-->", "does not quote 1.00"),
        (f"1.00 and 2.5 times{STEP}-->", "quotes 2.5 without"),
        ("1.00 times\n<!-- figures\n1.00 is what it is\n-->", "must be: NUMBER ="),
        (f"- It takes 3.1 times.\n- It takes 1.00 times.{STEP}-->", "quotes 3.1 without"),
        ("A rule: 40 %.\n\n<!-- no measurement: a -->", "quotes 40 without"),
    ],
)
def test_what_is_wrong_is_found(tmp_path: Path, text: str, said: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(text)
    with pytest.raises(AssertionError, match=re.escape(said)):
        [check(segment) for segment in segments(page)]


@pytest.mark.parametrize(
    "text",
    [
        "With 95 % intervals, of seed 3 and 12 classes.\n",
        "```text\n3.1 times\n```\nfast\n",
        f"It takes 1.00 times, a head 0.19.\n{STEP}{LEAST}\n-->\n",
        "At most 40 % of the memory.\n<!-- no measurement: a rule of ours -->\n",
        f"It takes 4 %.\n<!-- figures\n{SHARE}\n-->\n",
    ],
)
def test_what_is_right_passes(tmp_path: Path, text: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(text)
    for segment in segments(page):
        check(segment)
