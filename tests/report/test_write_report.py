import json
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest

from tailgrad.checks import InputError
from tailgrad.report import write_report
from tailgrad.report.wording import number, signed

VOID = {"meta", "link", "img", "br", "hr", "input"}
OURS = {
    *(
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "a",
        "header",
        "h1",
        "h2",
        "h3",
        "img",
        "button",
        "label",
        "select",
        "option",
        "ul",
        "li",
        "main",
        "section",
    ),
    *("div", "span", "p", "nav", "noscript", "figure", "figcaption", "strong", "script", "table", "caption"),
    *("thead", "tbody", "tr", "th", "td", "details", "summary", "footer"),
}


class Parsed(HTMLParser):
    """Tags, addresses, visible text, header cells and figures of a page; fails where tags do not nest."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.html = path.read_text(encoding="utf-8")
        self.open: list[str] = []
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.handlers: list[str] = []
        self.texts: list[str] = []
        self.cells: list[str] = []
        self.figures: list[dict[str, Any]] = []
        self.scripts = 0
        self.labels: list[str] = []
        self._json = False
        self.feed(self.html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        fields = dict(attrs)
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in {"src", "href", "action", "data"}]
        self.handlers += [name for name, _ in attrs if name.startswith("on")]
        self.labels += [fields["aria-label"] or ""] if "aria-label" in fields else []
        self._json = tag == "script" and fields.get("type") == "application/json"
        if tag not in VOID:
            self.open.append(tag)
        if fields.get("class") == "name":
            self.cells.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        inside = self.open[-1] if self.open else ""
        if inside == "script" and self._json:
            self.scripts += 1
            self.figures += [json.loads(data)] if "figure" in self.open else []
        elif inside not in {"script", "style"}:
            self.texts.append(data)
            if inside == "span" and "th" in self.open:
                self.cells[-1] += data

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


@pytest.fixture(scope="module")
def run_page(run_folder: Path) -> Parsed:
    return Parsed(write_report(run_folder))


@pytest.fixture(scope="module")
def study_page(study_folder: Path) -> Parsed:
    return Parsed(write_report(study_folder))


@pytest.fixture(scope="module", params=["run", "study"])
def page(request: pytest.FixtureRequest) -> Parsed:
    found: Parsed = request.getfixturevalue(f"{request.param}_page")
    return found


def test_is_well_formed_and_holds_only_our_elements(page: Parsed) -> None:
    assert page.open == []
    assert set(page.tags) <= OURS
    assert page.tags.count("script") == page.scripts + 2
    assert page.handlers == []


def test_asks_the_network_for_nothing(page: Parsed) -> None:
    assert page.addresses
    assert all(address.startswith(("#", "data:image/")) for address in page.addresses)
    assert "default-src 'none'" in page.html
    assert "connect-src" not in page.html.split("</head>")[0]
    assert "@import" not in page.html.split("</style>")[0]
    assert "url(" not in page.html.split("</style>")[0]


def test_names_stay_whole_and_escaped(page: Parsed, nasty_names: tuple[str, ...]) -> None:
    for name in nasty_names:
        assert name in page.cells
    before_plotly = page.html.split("plotly.js")[0]
    for raw in ('<script>alert("x")', "<b>%{y}", "<img src=x"):
        assert raw not in before_plotly


def test_is_small_enough_to_send(page: Parsed) -> None:
    assert 4e6 < len(page.html.encode()) < 8e6


def test_every_figure_is_valid_and_described(page: Parsed) -> None:
    assert len(page.figures) > 8
    for spec in page.figures:
        go.Figure(spec)  # raises on anything that Plotly does not know
    canvases = page.html.split("plotly.js")[0].count('role="img"')
    assert canvases == len(page.figures)
    assert all(len(label) > 3 for label in page.labels)


def test_no_figure_shows_a_bare_cosine(page: Parsed) -> None:
    titles = [f"{word}: csba" for word in ("Conflict", "Null", "Excess")]
    assert all(page.text.count(title) >= 3 for title in titles)
    scales = {(d["zmin"], d["zmax"]) for spec in page.figures for d in spec["data"] if d["type"] == "heatmap"}
    assert scales == {(-1, 1), (0, 1)}
    assert "Share of each branch" in page.text
    assert "dashed line is 1/B" in page.text


def test_sections_are_reached_from_the_top(page: Parsed) -> None:
    for title in (
        "Every class",
        "Where the errors go",
        "Which classes oppose",
        "Branches",
        "Training",
        "How this",
    ):
        assert title in page.text
    for address in page.addresses:
        assert address.startswith("data:") or f'id="{address[1:]}"' in page.html


def test_run_shows_its_figures_and_where_they_come_from(run_page: Parsed, run_folder: Path) -> None:
    result = json.loads((run_folder / "result.json").read_text(encoding="utf-8"))
    for name in ("macro_f1", "accuracy", "balanced_accuracy"):
        figure = result["test"][name]
        assert f"{number(figure['low'])} to {number(figure['high'])}" in run_page.text
    for row in result["test"]["classes"]:
        assert f"{number(row['recall']['value'])} ({number(row['recall']['low'])}" in run_page.text
    assert "00" + "ab" * 31 in run_page.text
    assert "optim.lr" in run_page.text
    assert "1,792,594" in run_page.text
    assert "nothing can be concluded from one seed" in run_page.text


def test_study_shows_the_comparison(study_page: Parsed, study_folder: Path) -> None:
    found = json.loads((study_folder / "comparison.json").read_text())
    for row in found["rows"]:
        assert number(row["mean"]) in study_page.text
        assert "  ".join(number(v) for v in row["per_seed"]).replace("  ", " ") in study_page.text
    for row in found["paired"]:
        assert f"{signed(row['mean'])} {signed(row['low'])} to {signed(row['high'])}" in study_page.text
        assert row["verdict"] in study_page.text
    assert found["conclusion"] in study_page.text
    assert "model.head" in study_page.text
    assert "nothing can be concluded" not in study_page.text
    for seed in range(3):
        assert f"{seed:02d}" + "ab" * 31 in study_page.text


def test_one_seed_concludes_nothing(tmp_path: Path, make_study: Callable[..., Any]) -> None:
    make_study(tmp_path / "one", seeds=1)
    text = Parsed(write_report(tmp_path / "one")).text
    assert "With one seed nothing can be concluded: another seed, another order." in text
    assert "one seed: no interval" in text
    assert "better" not in text.split("Methods compared")[0]


def test_focus_comes_first(
    tmp_path: Path, make_run: Callable[..., Any], nasty_names: tuple[str, ...]
) -> None:
    result = make_run(tmp_path / "run", focus=nasty_names[3])
    text = Parsed(write_report(tmp_path / "run")).text
    headline = text.index(f"F1 of {nasty_names[3]}, threshold 0.370 {number(result['focus']['f1']['value'])}")
    assert headline < text.index("macro-F1 on test images")


def test_only_the_result_is_needed(tmp_path: Path, run_folder: Path) -> None:
    shutil.copy(run_folder / "result.json", tmp_path / "result.json")
    page = Parsed(write_report(tmp_path))
    assert "Which classes oppose" not in page.text
    assert "not recorded" in page.text
    assert len(page.figures) == 2


def test_two_classes_and_two_hundred(tmp_path: Path, make_run: Callable[..., Any]) -> None:
    make_run(tmp_path / "two", names=("0", "1"), counts=(30, 3))
    two = Parsed(write_report(tmp_path / "two"))
    assert all("category" in str(s["layout"]) for s in two.figures if s["data"][0]["type"] == "heatmap")
    names = tuple("same beginning, same end" + " " * k for k in range(200))
    make_run(tmp_path / "many", names=names, counts=tuple(range(400, 200, -1)), moments=("heldout",))
    many = Parsed(write_report(tmp_path / "many"))
    maps = [s["data"][0] for s in many.figures if s["data"][0]["type"] == "heatmap"]
    assert {len(cells["z"]) for cells in maps} == {24, 60}
    assert all(len(set(cells["x"])) == len(cells["z"]) for cells in maps)
    assert len(many.html) < 6e6


def test_unfinished_runs_are_named(tmp_path: Path, study_folder: Path) -> None:
    copy = tmp_path / "study"
    shutil.copytree(study_folder, copy)
    (copy / "runs" / "panels.quick.csba.seed2" / "result.json").unlink()
    (copy / "comparison.json").unlink()
    text = Parsed(write_report(copy)).text
    assert "Not finished, left out: panels.quick.csba.seed2." in text
    assert "no conclusion yet" in text


def test_is_replaced_whole_and_names_no_folder(run_folder: Path) -> None:
    path = write_report(run_folder)
    assert write_report(run_folder) == path == run_folder / "report.html"
    assert [p.name for p in run_folder.iterdir() if "partial" in p.name] == []
    assert str(run_folder.parent) not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (shutil.rmtree, "does not exist"),
        (Path.exists, "which holds nothing"),
        (lambda folder: (folder / "notes.txt").touch(), "which holds notes.txt"),
        (lambda folder: (folder / "config.yaml").write_text("seed: 1"), "without a result; finish it"),
        (lambda folder: (folder / "result.json").write_text("{"), "result.json must be readable"),
        (lambda folder: (folder / "result.json").write_text("[]"), "must hold an object, got list"),
    ],
)
def test_other_folders_are_refused(tmp_path: Path, prepare: Callable[[Path], Any], words: str) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    prepare(folder)
    with pytest.raises(InputError, match=words):
        write_report(folder)
    assert not (folder / "report.html").exists()


def test_study_without_a_finished_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "runs" / "a").mkdir(parents=True)
    (tmp_path / "study.yaml").write_text("methods: [a]")
    with pytest.raises(InputError, match="none of 1"):
        write_report(tmp_path)


def test_a_study_tells_of_every_run_it_reads(study_folder: Path) -> None:
    finished = len(list(study_folder.glob("runs/*/result.json")))
    heard: list[tuple[int, int]] = []
    write_report(study_folder, told=lambda done, total: heard.append((done, total)))
    assert heard == [(run, 2 * finished) for run in range(1, finished + 1)]
