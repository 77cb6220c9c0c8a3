"""Pages and figures at 1 class, 2, 12, 100 and 1000: what is drawn, what is said, what is left out."""

import dataclasses
import re
from typing import Any

import numpy as np
import pytest

from tailgrad.evaluate import Estimate, evaluate_predictions
from tailgrad.interference import Branches, Interference
from tailgrad.report.blocks import Block, Figure, Folded, Grid, Page, Part, Picker, Table, Text
from tailgrad.report.class_order import alike
from tailgrad.report.comparison import comparison_blocks, comparison_cards
from tailgrad.report.conflict import branch_blocks, conflict_blocks
from tailgrad.report.figures import (
    LayerSeries,
    Series,
    branch_shares,
    class_bars,
    curves,
    heat_map,
    layers,
    seed_dots,
)
from tailgrad.report.folders import Run, Study
from tailgrad.report.html_page import html_page
from tailgrad.report.run_report import curve, run_page
from tailgrad.report.study_report import study_page
from tailgrad.report.tables import folded_if_long, matrix_table
from tailgrad.types import ClassInfo

pytestmark = pytest.mark.long

SIZES = (1, 2, 12, 100, 1000)
NUMBER = re.compile(r"-?\d+\.\d+")


def info(size: int) -> ClassInfo:
    return ClassInfo(tuple(f"class {k:04d}" for k in range(size)), tuple(range(10, 10 + size)))


def measured(size: int, unknown: int = 0) -> Interference:
    random = np.random.default_rng(size)
    conflict = np.clip(random.normal(0, 0.3, (size, size)), -1, 1)
    conflict = (conflict + conflict.T) / 2
    np.fill_diagonal(conflict, 1)
    conflict[:unknown], conflict[:, :unknown] = np.nan, np.nan
    null = np.full((size, size), -1 / max(1, size - 1))
    classes = info(size)
    return Interference(
        class_names=classes.names,
        counts=np.array(classes.counts),
        primary="backbone",
        conflict=conflict,
        null=null,
        norms=np.ones(size),
        loss=np.ones(size),
        groups={"backbone": conflict},
        group_null={"backbone": null},
        layers={"a.conv": conflict, "b.conv": conflict / 2},
        layer_null={"a.conv": null, "b.conv": null},
        layer_norms={"a.conv": np.ones(size), "b.conv": np.ones(size)},
        branches=Branches(("x", "y"), np.stack([np.arange(1.0, size + 1), np.ones(size)])),
    )


def made(size: int, *, method: str = "csba", seed: int = 0, unknown: int = 0) -> Run:
    random, classes = np.random.default_rng([size, seed]), info(size)
    target = np.arange(size).repeat(2)
    guess = np.where(random.random(len(target)) < 0.6, target, random.integers(0, size, len(target)))
    test = evaluate_predictions(guess, target, classes, resamples=20)
    result = {"data": "panels", "regime": "quick", "method": method, "seed": seed, "status": "finished"}
    result |= {"classes": {"names": list(classes.names), "counts": list(classes.counts)}}
    rows = tuple({"epoch": e, "train_loss": 1 / e, "val_macro_f1": e / 9} for e in range(1, 5))
    found = {"heldout": measured(size, unknown)} if size > 1 else {}
    return Run(f"{method}{seed}", result, test, None, rows, {}, {}, {}, found)


def every(blocks: tuple[Block, ...], kind: type) -> list[Any]:
    inner = [b for one in blocks if isinstance(one, Grid | Folded | Part) for b in every(one.blocks, kind)]
    return [block for block in blocks if isinstance(block, kind)] + inner


def section(page: Page, title: str) -> tuple[Block, ...]:
    parts = (part for one in page.sections for part in one.blocks if isinstance(part, Part))
    return next(part.blocks for part in parts if part.title == title)


@pytest.fixture(scope="module", params=SIZES)
def size(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture(scope="module")
def run(size: int) -> Run:
    return made(size)


@pytest.fixture(scope="module")
def page(run: Run) -> Page:
    return run_page(run)


def test_a_page_of_any_size_can_be_written(page: Page, size: int) -> None:
    html = html_page(page)
    assert f"<li>{size} classes</li>" in html
    assert len(html.encode()) < 8e6
    drawn = sum(len(every(one.blocks, Figure)) for one in page.sections)
    assert html.count('<figure class="plot"') == drawn


def test_every_class_is_listed_whatever_their_number(page: Page, size: int) -> None:
    blocks = section(page, "Every class")
    table = next(t for t in every(blocks, Table) if t.header[0] == "class")
    assert sorted(row[0] for row in table.rows) == list(info(size).names)
    assert table in blocks  # long ones are searched and paged, not folded


def test_bars_below_and_points_above_forty_classes(page: Page, size: int) -> None:
    figure = section(page, "Every class")[0]
    (trace,) = figure.spec["data"]
    assert trace["type"] == ("bar" if size <= 40 else "scatter")
    assert len(trace["x"]) == len(trace["y"]) == size
    assert len(trace["customdata"]) == size
    assert figure.spec["layout"]["height"] < 2000


def test_the_drawn_figures_are_those_of_the_evaluation(run: Run, page: Page, size: int) -> None:
    (trace,) = section(page, "Every class")[0].spec["data"]
    values = trace["x"] if trace["type"] == "bar" else trace["y"]
    drawn = dict(zip(trace["customdata"], values, strict=True))
    known = {row.name: row.f1.value for row in run.test.classes}
    assert drawn == pytest.approx(known, abs=6e-5)


def test_alt_texts_name_lowest_and_highest(run: Run, page: Page) -> None:
    values = [row.f1.value for row in run.test.classes]
    low, high = NUMBER.findall(section(page, "Every class")[0].alt)
    assert (float(low), float(high)) == pytest.approx((min(values), max(values)), abs=6e-4)


def test_confusion_shares_add_up_in_every_pooled_row(run: Run, page: Page, size: int) -> None:
    (figure,) = every(section(page, "Where the errors go"), Figure)
    drawn = np.array(figure.spec["data"][0]["z"], dtype=float)
    assert len(drawn) == min(size, 60)
    widths = np.array([len(group) for group in np.array_split(np.arange(size), len(drawn))])
    # A pooled cell is a mean over classes: times the number of columns, a row adds up to one again.
    np.testing.assert_allclose((drawn * widths).sum(1), 1, atol=5.1e-4 * size + 1e-6)
    captions = [table.caption for table in every(section(page, "Where the errors go"), Table)]
    assert any(caption.startswith("Counts") for caption in captions) == (size <= 60)


@pytest.mark.parametrize("quantity", ["conflict", "null", "excess"])
def test_heat_maps_are_blockwise_means(page: Page, run: Run, size: int, quantity: str) -> None:
    if size == 1:
        assert section(page, "Which classes oppose one another") == ()
        return
    figures = every(section(page, "Which classes oppose one another"), Figure)
    figure = next(f for f in figures if f.title == f"{quantity.capitalize()}: csba")
    matrix = getattr(run.interference["heldout"], quantity)
    order = np.argsort(-np.array(run.classes.counts), kind="stable")
    if size > 60:
        order = alike(run.interference["heldout"].excess)
        matrix = np.where(np.eye(size, dtype=bool), np.nan, matrix)
    groups = np.array_split(order, min(size, 60))
    wanted = [[np.nanmean(matrix[np.ix_(a, b)]) for b in groups] for a in groups[:7]]
    np.testing.assert_allclose(np.array(figure.spec["data"][0]["z"], dtype=float)[:7], wanted, atol=5.1e-4)
    assert ("mean over a few classes that are alike" in figure.meaning) == (size > 60)


def test_lowest_pair_is_named_from_the_whole_matrix(page: Page, run: Run, size: int) -> None:
    figures = every(section(page, "Which classes oppose one another"), Figure)
    found = [f for f in figures if f.title == "Conflict: csba"]
    assert len(found) == (size > 1)
    for figure in found:
        conflict = run.interference["heldout"].conflict
        i, j = divmod(int(np.argmin(np.where(np.eye(size, dtype=bool), 9, conflict))), size)
        assert {run.classes.names[i], run.classes.names[j]} == set(re.findall(r"class \d{4}", figure.alt))
        assert float(NUMBER.findall(figure.alt)[0]) == pytest.approx(conflict[i, j], abs=6e-3)


def test_the_strongest_pairs_are_drawn_class_by_class_where_cells_are_means(
    page: Page, run: Run, size: int
) -> None:
    figures = every(section(page, "Which classes oppose one another"), Figure)
    found = [figure for figure in figures if figure.title.startswith("Strongest conflicts")]
    assert len(found) == (size > 60)
    for figure in found:
        excess, cells = run.interference["heldout"].excess, figure.spec["data"][0]
        assert len(cells["x"]) == 24
        places = [run.classes.names.index(name) for name in cells["x"]]
        np.testing.assert_allclose(
            np.array(cells["z"], dtype=float), excess[np.ix_(places, places)], atol=5.1e-4
        )
        lowest = np.min(excess[~np.eye(size, dtype=bool)])
        assert np.min(np.array(cells["z"], dtype=float)) == pytest.approx(lowest, abs=5.1e-4)


def test_pairs_listed_are_at_most_six(page: Page, size: int) -> None:
    tables = every(section(page, "Which classes oppose one another"), Table)
    rows = [row for table in tables if table.header[0] == "pair" for row in table.rows]
    assert len(rows) == min(6, size * (size - 1) // 2)


def test_matrices_are_listed_up_to_sixty_classes(page: Page, size: int) -> None:
    tables = every(section(page, "Which classes oppose one another"), Table)
    matrices = [table for table in tables if table.header[0] == "class"]
    assert len(matrices) == (3 if 1 < size <= 60 else 0)
    assert all(len(table.rows) == size for table in matrices)


def test_branches_show_the_ends_of_a_long_list(page: Page, run: Run, size: int) -> None:
    figures = every(section(page, "Branches"), Figure)
    assert len(figures) == (size > 1)
    for figure in figures:
        shares = run.interference["heldout"].branches.shares
        order = np.argsort(-np.array(run.classes.counts), kind="stable")
        shown = order if size <= 40 else np.r_[order[:20], order[-20:]]
        drawn = np.array([trace["y"] for trace in figure.spec["data"]])
        np.testing.assert_allclose(drawn, shares[:, shown], atol=6e-5)
        rows = every(section(page, "Branches"), Table)[0].rows
        assert len(rows) == size


def test_headline_names_the_worst_class(page: Page, run: Run) -> None:
    values = {row.name: row.f1.value for row in run.test.classes}
    card = page.cards[3]
    name = card.label.removeprefix("worst class: ")
    assert values[name] == min(values.values())
    assert card.value == f"{values[name]:.3f}"


@pytest.mark.parametrize("unknown", [1, 5, 11, 12])
def test_classes_without_a_measurement_are_blank_and_left_out_of_means(unknown: int) -> None:
    found = measured(12, unknown)
    blocks = conflict_blocks({"csba": [{"heldout": found}]})
    figure = next(f for f in every(blocks, Figure) if f.title.startswith("Conflict: "))
    drawn = np.array(figure.spec["data"][0]["z"], dtype=float)
    assert int(np.isnan(drawn).sum()) == 144 - (12 - unknown) ** 2
    assert figure.meaning.endswith("Blank: could not be measured.")
    known = found.conflict[unknown:, unknown:]
    pairs = known[np.triu_indices(len(known), 1)]
    row = every(blocks, Table)[0].rows[0]
    assert row[2] == (f"{pairs.mean():+.3f}" if len(pairs) else "\u2013")
    listed = next(t for t in every(blocks, Table) if t.header[0] == "pair").rows
    names = {name for pair, *_ in listed for name in pair.split(" / ")}
    assert names <= set(found.class_names[unknown:])
    assert len(listed) == min(6, len(pairs))


def test_a_class_unknown_in_one_seed_is_taken_from_the_other() -> None:
    whole, part = measured(4), measured(4, unknown=1)
    blocks = conflict_blocks({"csba": [{"heldout": whole}, {"heldout": part}]})
    figure = next(f for f in every(blocks, Figure) if f.title == "Conflict: csba")
    np.testing.assert_allclose(
        np.array(figure.spec["data"][0]["z"], dtype=float), whole.conflict[::-1, ::-1], atol=5.1e-4
    )


def test_unmeasured_shares_are_gaps() -> None:
    norms = np.array([[1.0, 0.0], [3.0, 0.0]])
    found = dataclasses.replace(measured(2), branches=Branches(("x", "y"), norms))
    figure, folded = branch_blocks({"csba": [{"heldout": found}]})
    drawn = dict(zip(figure.spec["data"][1]["customdata"], figure.spec["data"][1]["y"], strict=True))
    assert drawn["class 0000"] == 0.75
    assert drawn["class 0001"] is None
    assert "branch 2 on class 0000, 0.75, where 1/B is 0.50" in figure.alt
    assert folded.blocks[0].rows[0] == ("class 0000", "0.250", "0.750")


@pytest.mark.parametrize("methods", [1, 2, 5])
def test_a_study_holds_every_method_in_every_section(methods: int) -> None:
    names = [f"m{i}" for i in range(methods)]
    runs = {name: tuple(made(12, method=name, seed=s) for s in (0, 1)) for name in names}
    page = study_page(Study("s", {"methods": names}, {}, runs, {}))
    assert len(section(page, "Every class")[0].spec["data"]) == methods
    confusion = every(section(page, "Where the errors go"), Figure)
    assert [f.title for f in confusion] == [f"Confusion: {name}" for name in names]
    rows = every(section(page, "Which classes oppose one another"), Table)[0].rows
    assert [row[0] for row in rows] == names
    lines = [d for d in section(page, "Training")[0].spec["data"] if d["mode"] == "lines"]
    assert len(lines) == 2 * methods
    assert sum(d["showlegend"] for d in lines) == methods
    assert page.title.startswith("5 methods" if methods == 5 else ", ".join(names))
    assert page.conclusion == "The study is not finished: there is no conclusion yet."


@pytest.mark.parametrize("seeds", [1, 2, 7])
def test_the_number_of_seeds_is_said(seeds: int) -> None:
    runs = {"m": tuple(made(2, method="m", seed=s) for s in range(seeds))}
    page = study_page(Study("s", {}, {}, runs, {"lost": "loss is nan"}))
    assert ("1 seed" if seeds == 1 else f"{seeds} seeds") in page.facts
    note = next(block for block in section(page, "Every class") if isinstance(block, Text))
    assert ("one seed" in note.text) == (seeds == 1)
    assert "1 run not finished" in page.facts
    warned = [b for b in section(page, "Methods compared") if isinstance(b, Text) and b.strong]
    assert len(warned) == (seeds == 1)


def test_layers_keep_their_order_and_drop_names_when_many() -> None:
    few, many = ({f"block.{i}": -i / 100 for i in range(n)} for n in (24, 25))
    for conflict in (few, many):
        excess = {name: value / 2 for name, value in conflict.items()}
        figure = layers([LayerSeries("m", conflict, excess)])
        solid, dotted = figure.spec["data"]
        assert dotted["y"] == pytest.approx(list(conflict.values()), abs=6e-5)
        assert solid["y"] == pytest.approx(list(excess.values()), abs=6e-5)
        assert ("ticktext" in figure.spec["layout"]["xaxis"]) == (len(conflict) == 24)


@pytest.mark.parametrize("n", [25, 26])
def test_tables_fold_above_twenty_five_rows(n: int) -> None:
    table = Table("Rows", ("a",), tuple((str(i),) for i in range(n)))
    assert isinstance(folded_if_long(table), Folded) == (n > 25)


@pytest.mark.parametrize("digits", [0, 2, 4])
def test_matrix_tables_round_to_their_digits(digits: int) -> None:
    values = np.random.default_rng(0).normal(size=(3, 3)) * 10
    values[0, 1] = np.nan
    rows = matrix_table("Counts", values, info(3), digits).blocks[0].rows
    read = np.array([[np.nan if c == "\u2013" else float(c) for c in row[1:]] for row in rows])
    np.testing.assert_allclose(read, np.round(values, digits), atol=1e-9)


@pytest.mark.parametrize("classes", [40, 41])
def test_the_border_between_bars_and_points(classes: int) -> None:
    figures = tuple(Estimate(k / classes, k / classes, 1.0) for k in range(classes))
    trace = class_bars(info(classes), [Series("m", figures)]).spec["data"][0]
    assert ("error_x" in trace) == (classes == 40)
    place = trace["y"] if classes == 41 else trace["x"]
    assert place == sorted(place, reverse=True)


@pytest.mark.parametrize("classes", [60, 61])
def test_the_border_between_whole_and_pooled_maps(classes: int) -> None:
    cells = heat_map("Conflict", "", np.eye(classes), info(classes)).spec["data"][0]
    assert len(cells["z"]) == 60
    diagonal = [cells["z"][i][i] for i in range(60)]
    assert diagonal.count(None) == (59 if classes == 61 else 0)
    assert sum(" +1" in label for label in cells["x"]) == classes - 60


@pytest.mark.parametrize(("low", "high"), [(0.2, 0.9), (-3.0, 4.0), (None, None)])
def test_the_axis_of_dots_holds_every_mark(low: float | None, high: float | None) -> None:
    row = {"method": "m", "mean": 0.5, "low": low, "high": high, "per_seed": [0.4, 0.6]}
    start, end = seed_dots("F1", [row]).spec["layout"]["xaxis"]["range"]
    assert start <= 0.4 - 0.02 + 1e-9
    assert end >= 0.6 + 0.02 - 1e-9
    assert start >= -0.02
    assert end <= 1.02


def test_curves_of_one_epoch_are_marks() -> None:
    run = dataclasses.replace(made(2), epochs=({"epoch": 3, "train_loss": 0.25},))
    figure = curves("Loss", "", "loss", [curve(run, "train_loss", "training", 3)])
    line, star = figure.spec["data"]
    assert (line["mode"], line["x"], line["y"]) == ("markers", [3], [0.25])
    assert star["y"] == [0.25]
    assert figure.alt == "training: 0.250 at epoch 3, 0.250 at epoch 3."


@pytest.mark.parametrize("branches", [1, 2, 5])
def test_the_null_of_branches_is_one_over_their_number(branches: int) -> None:
    shares = np.full((branches, 3), 1 / branches)
    figure = branch_shares("m", shares, info(3))
    (line,) = figure.spec["layout"]["shapes"]
    assert line["y0"] == line["y1"] == pytest.approx(1 / branches)
    assert len(figure.spec["data"]) == branches


@pytest.mark.parametrize(
    ("n", "low", "words"),
    [(1, None, "one seed: no interval"), (3, None, "all seeds equal"), (3, 0.4, "95 % over 3 seeds: 0.400")],
)
def test_cards_say_where_their_interval_comes_from(n: int, low: float | None, words: str) -> None:
    row = {"method": "m", "mean": 0.5, "low": low, "high": low and 0.6, "n": n, "per_seed": [0.5] * n}
    (card,) = comparison_cards({"metric": "macro_f1", "rows": [row]})
    assert card.note.startswith(words)


def test_an_unfinished_comparison_draws_nothing() -> None:
    assert comparison_cards({}) == ()
    assert comparison_blocks({}, seeds=3) == ()


def test_a_study_of_a_thousand_classes_stays_small_enough_to_send() -> None:
    runs = {name: tuple(made(1000, method=name, seed=s) for s in (0, 1)) for name in ("ce", "csba")}
    page = study_page(Study("s", {}, {}, runs, {}))
    html = html_page(page)
    assert len(html.encode()) < 8e6
    (picker,) = every(section(page, "Two runs side by side"), Picker)
    assert {len(run["f1"]) for run in picker.content["runs"]} == {1000}
    assert all(run["excess"] is None for run in picker.content["runs"])
