"""Every number on a page is that of the files: the page is parsed and compared section by section."""

import json
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from scipy import stats

from tailgrad.interference import Interference
from tailgrad.report import write_report

DASH = "\u2013"
Row = list[str]


class Sections(HTMLParser):
    """Tables by caption and figures by title, under the heading that they stand under."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.titles: list[str] = []
        self.tables: dict[str, dict[str, list[Row]]] = {}
        self.figures: dict[str, dict[str, Any]] = {}
        self.paragraphs: dict[str, list[str]] = {}
        self.cards: list[dict[str, str]] = []
        self.facts: list[str] = []
        self._path: list[tuple[str, str]] = []
        self._caption = self._figure = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        fields = dict(attrs)
        if tag in {"meta", "link", "img"}:
            return
        self._path.append((tag, fields.get("class") or fields.get("type") or ""))
        if tag in {"h2", "h3"}:
            self.titles.append("")
        elif tag == "table":
            self._caption = ""
        elif tag == "tr":
            self.tables[self.titles[-1]].setdefault(self._caption, []).append([])
        elif tag in {"th", "td"}:
            self.tables[self.titles[-1]][self._caption][-1].append("")
        elif tag == "p" and self.titles:
            self.paragraphs[self.titles[-1]].append("")
        elif fields.get("class") == "card":
            self.cards.append({})

    def handle_endtag(self, tag: str) -> None:
        self._path.pop()
        if tag in {"h2", "h3"}:
            for store in (self.tables, self.figures):
                store[self.titles[-1]] = {}
            self.paragraphs[self.titles[-1]] = []
        elif tag == "caption":  # the same table of another moment comes later and is kept apart
            seen = self.tables[self.titles[-1]]
            self._caption += " again" * sum(name.replace(" again", "") == self._caption for name in seen)

    def handle_data(self, data: str) -> None:
        tags = [tag for tag, _ in self._path]
        inside, kind = self._path[-1] if self._path else ("", "")
        if inside in {"h2", "h3"}:
            self.titles[-1] += data
        elif inside == "caption":
            self._caption += data
        elif inside == "li" and tags[-2] == "ul" and "header" in tags:
            self.facts.append(data)
        elif self.cards and kind in {"label", "value", "note"}:
            self.cards[-1][kind] = data
        elif {"th", "td"} & set(tags):
            self.tables[self.titles[-1]][self._caption][-1][-1] += data
        elif inside == "strong" and "figcaption" in tags:
            self._figure = data
        elif inside == "script" and kind == "application/json":
            self.figures[self.titles[-1]].setdefault(self._figure, json.loads(data))
        elif "p" in tags and self.titles:
            self.paragraphs[self.titles[-1]][-1] += data

    def table(self, section: str, begin: str) -> list[Row]:
        """Rows of the first table of a section whose caption begins so, without its header."""
        return next(rows[1:] for caption, rows in self.tables[section].items() if caption.startswith(begin))


def f3(value: float) -> str:
    return DASH if value is None or np.isnan(value) else f"{value:.3f}"


def s3(value: float) -> str:
    return DASH if value is None or np.isnan(value) else f"{value:+.3f}"


def with_ends(figure: dict[str, Any]) -> str:
    return f"{figure['value']:.3f} ({figure['low']:.3f} to {figure['high']:.3f})"


def pairs_mean(matrix: np.ndarray) -> float:
    upper = matrix[np.triu_indices(len(matrix), 1)]
    return float(upper[~np.isnan(upper)].mean())


@pytest.fixture(scope="module")
def result(run_folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run_folder / "result.json").read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="module")
def page(run_folder: Path) -> Sections:
    return Sections(write_report(run_folder))


@pytest.fixture(scope="module")
def arrays(run_folder: Path) -> dict[str, Any]:
    """Conflict and null of the held-out measurement, read without the package."""
    found = Interference.load(run_folder / "interference" / "heldout")
    return {"conflict": found.conflict, "null": found.null, "found": found}


@pytest.fixture(scope="module")
def study(study_folder: Path) -> Sections:
    return Sections(write_report(study_folder))


@pytest.fixture(scope="module")
def compared(study_folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((study_folder / "comparison.json").read_text())
    return found


@pytest.fixture(scope="module")
def results(study_folder: Path) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {"baseline": [], "csba": []}
    for path in sorted((study_folder / "runs").glob("*/result.json")):
        one = json.loads(path.read_text(encoding="utf-8"))
        found[one["method"]].append(one)
    return found


def test_sections_come_in_the_order_of_interest(page: Sections, study: Sections) -> None:
    good = ["Is it good where it matters?", "Every class", "Rare and frequent classes"]
    why = [
        *("Why does it fail there?", "Where the errors go", "The worst confusions, in examples"),
        *("Which classes oppose one another", "Branches"),
    ]
    rest = [
        *("What would help?", "What to try", "Can I trust this?", "Training", "How this was made"),
    ]
    assert page.titles == [*good, *why, *rest]
    wins = ["Which method wins?", "Methods compared", "Two runs side by side"]
    assert study.titles == [*wins, *good[:2], *why, *rest]


@pytest.mark.parametrize("place", range(4))
def test_cards_are_the_headline_figures(page: Sections, result: dict[str, Any], place: int) -> None:
    test = result["test"]
    worst = min(test["classes"], key=lambda row: row["f1"]["value"])
    figure = (test["macro_f1"], test["balanced_accuracy"], test["accuracy"], worst["f1"])[place]
    assert page.cards[place]["value"] == f3(figure["value"])
    assert page.cards[place]["note"] == f"95 %: {figure['low']:.3f} to {figure['high']:.3f}"


def test_facts_count_what_the_result_counts(page: Sections, result: dict[str, Any]) -> None:
    assert f"{len(result['classes']['names'])} classes" in page.facts
    assert f"{sum(result['classes']['counts'])} training images" in page.facts
    assert f"{np.sum(result['test']['confusion'])} test images" in page.facts


def test_every_class_has_its_own_row(page: Sections, result: dict[str, Any]) -> None:
    rows = {row[0]: row for row in page.table("Every class", "Every class on")}
    confusion = np.array(result["test"]["confusion"])
    for k, name in enumerate(result["classes"]["names"]):
        cells, known = rows[name], result["test"]["classes"][k]
        hits, support, predicted = confusion[k, k], confusion[k].sum(), confusion[:, k].sum()
        assert cells[1:4] == [str(result["classes"]["counts"][k]), str(support), str(predicted)]
        assert cells[4].startswith(f3(2 * hits / (support + predicted)))
        assert cells[5].startswith(f3(hits / predicted))
        assert cells[6].startswith(f3(hits / support))
        assert cells[4:7] == [with_ends(known[part]) for part in ("f1", "precision", "recall")]
        assert cells[7] == f3(known["ece"])


def test_rows_fall_with_training_images(page: Sections, study: Sections) -> None:
    for found, caption in ((page, "Every class on"), (study, "F1 of every class")):
        counts = [int(row[1]) for row in found.table("Every class", caption)]
        assert counts == sorted(counts, reverse=True)


def test_groups_are_means_over_their_classes(page: Sections, result: dict[str, Any]) -> None:
    counts = np.array(result["classes"]["counts"])
    members = {"many": counts > 100, "medium": (counts >= 20) & (counts <= 100), "few": counts < 20}
    rows = {row[0]: row for row in page.table("Rare and frequent classes", "Classes grouped")}
    for name, inside in members.items():
        chosen = [row for row, is_in in zip(result["test"]["classes"], inside, strict=True) if is_in]
        assert rows[name][2] == str(len(chosen))
        assert rows[name][3].startswith(f3(np.mean([row["f1"]["value"] for row in chosen])))
        assert rows[name][4].startswith(f3(np.mean([row["recall"]["value"] for row in chosen])))


def test_confusion_is_drawn_as_shares_and_listed_as_counts(page: Sections, result: dict[str, Any]) -> None:
    confusion, counts = np.array(result["test"]["confusion"]), np.array(result["classes"]["counts"])
    rows = page.table("Where the errors go", "Counts, csba")
    assert [[int(cell) for cell in row[1:]] for row in rows] == confusion.tolist()
    order = np.argsort(-counts, kind="stable")
    shares = (confusion / confusion.sum(1, keepdims=True))[np.ix_(order, order)]
    drawn = page.figures["Where the errors go"]["Confusion: csba"]["data"][0]["z"]
    np.testing.assert_allclose(np.array(drawn), shares, atol=5.1e-4)


@pytest.mark.parametrize("quantity", ["conflict", "null", "excess"])
def test_heat_maps_are_the_arrays(
    page: Sections, arrays: dict[str, Any], result: dict[str, Any], quantity: str
) -> None:
    known = arrays | {"excess": arrays["conflict"] - arrays["null"]}
    order = np.argsort(-np.array(result["classes"]["counts"]), kind="stable")
    section = page.figures["Which classes oppose one another"]
    drawn = np.array(section[f"{quantity.capitalize()}: csba"]["data"][0]["z"], dtype=float)
    np.testing.assert_allclose(drawn, known[quantity][np.ix_(order, order)], atol=5.1e-4)
    assert np.isnan(drawn).any() == (quantity != "null")


@pytest.mark.parametrize("quantity", ["conflict", "null", "excess"])
def test_matrices_as_tables_are_the_arrays(page: Sections, arrays: dict[str, Any], quantity: str) -> None:
    known = arrays | {"excess": arrays["conflict"] - arrays["null"]}
    section = page.tables["Which classes oppose one another"]
    _, *rows = section[f"{quantity.capitalize()}, csba"]
    for row, wanted in zip(rows, known[quantity], strict=True):
        read = [np.nan if cell == DASH else float(cell) for cell in row[1:]]
        np.testing.assert_allclose(read, wanted, atol=5.1e-3)


def test_summary_gives_conflict_null_and_excess_of_every_moment(page: Sections, run_folder: Path) -> None:
    rows = page.table("Which classes oppose one another", "Mean over all pairs")
    for row, moment in zip(rows, ("heldout", "early", "train"), strict=True):
        found = Interference.load(run_folder / "interference" / moment)
        means = [pairs_mean(m) for m in (found.conflict, found.null, found.conflict - found.null)]
        assert row[2:5] == [s3(mean) for mean in means]
        assert row[5] == DASH


def test_worst_pairs_are_found_by_brute_force(page: Sections, arrays: dict[str, Any]) -> None:
    conflict, null, names = arrays["conflict"], arrays["null"], arrays["found"].class_names
    pairs = [
        (conflict[i, j] - null[i, j], i, j)
        for i in range(len(names))
        for j in range(i + 1, len(names))
        if not np.isnan(conflict[i, j])
    ]
    rows = page.table("Which classes oppose one another", "The six pairs")
    assert len(rows) == 6
    for row, (excess, i, j) in zip(rows, sorted(pairs)[:6], strict=True):
        assert row[0] == f"{names[i]} / {names[j]}"
        assert row[2:5] == [s3(conflict[i, j]), s3(null[i, j]), s3(excess)]


def test_layers_are_drawn_and_listed_alike(page: Sections, arrays: dict[str, Any]) -> None:
    found = arrays["found"]
    cosine = [pairs_mean(matrix) for matrix in found.layers.values()]
    excess = [pairs_mean(found.layers[name] - found.layer_null[name]) for name in found.layers]
    section = "Which classes oppose one another"
    solid, dotted = page.figures[section]["Conflict by layer"]["data"]
    np.testing.assert_allclose(solid["y"], excess, atol=6e-5)
    np.testing.assert_allclose(dotted["y"], cosine, atol=6e-5)
    rows = page.table(section, "Mean over pairs of classes by layer")
    wanted = zip(found.layers, cosine, excess, strict=True)
    assert rows == [[name, s3(a), s3(b)] for name, a, b in wanted]


def test_branch_shares_are_norms_over_their_sum(page: Sections, arrays: dict[str, Any]) -> None:
    found = arrays["found"]
    shares = found.branches.shares
    np.testing.assert_allclose(shares.sum(0), 1)
    order = np.argsort(-found.counts, kind="stable")
    (figure,) = page.figures["Branches"].values()
    drawn = np.array([trace["y"] for trace in figure["data"]])
    np.testing.assert_allclose(drawn, shares[:, order], atol=6e-5)
    rows = page.table("Branches", "Share of each branch")
    assert [row[1:] for row in rows] == [[f3(share) for share in column] for column in shares.T]


def test_curves_are_the_metrics_file(page: Sections, run_folder: Path) -> None:
    lines = (run_folder / "metrics.jsonl").read_text(encoding="utf-8").split("\n")
    epochs = [json.loads(line) for line in lines if line]
    scores = ("val_macro_f1", "val_worst_f1", "val_accuracy")
    keys = {"Loss": ("train_loss", "val_loss"), "Validation figures": scores}
    for title, wanted in keys.items():
        drawn = [d for d in page.figures["Training"][title]["data"] if d["mode"] == "lines"]
        for trace, key in zip(drawn, wanted, strict=True):
            assert trace["x"] == [row["epoch"] for row in epochs]
            known = np.array([row[key] for row in epochs], dtype=float)
            np.testing.assert_allclose(np.array(trace["y"], dtype=float), known, atol=6e-5)


def test_stars_lie_on_the_kept_epoch(page: Sections, result: dict[str, Any], run_folder: Path) -> None:
    lines = (run_folder / "metrics.jsonl").read_text(encoding="utf-8").split("\n")
    kept = json.loads(lines[result["best_epoch"] - 1])
    stars = [
        trace
        for title in ("Loss", "Validation figures")
        for trace in page.figures["Training"][title]["data"]
        if trace.get("marker", {}).get("symbol") == "star"
    ]
    keys = ("train_loss", "val_loss", "val_macro_f1", "val_worst_f1", "val_accuracy")
    assert [star["x"] for star in stars] == [[result["best_epoch"]]] * len(keys)
    assert [star["y"][0] for star in stars] == pytest.approx([kept[key] for key in keys], abs=6e-5)


def test_epoch_table_has_every_number_and_a_dash_for_none(page: Sections, run_folder: Path) -> None:
    header, *rows = page.tables["Training"]["Figures by epoch"]
    lines = (run_folder / "metrics.jsonl").read_text(encoding="utf-8").split("\n")
    for row, known in zip(rows, map(json.loads, filter(None, lines)), strict=True):
        for key, cell in zip(header, row, strict=True):
            value = known[key]
            assert cell == (DASH if value is None else cell)
            assert value is None or float(cell) == pytest.approx(value, rel=1e-3)


def test_configuration_is_listed_leaf_by_leaf(page: Sections, run_folder: Path) -> None:
    config = yaml.safe_load((run_folder / "config.yaml").read_text(encoding="utf-8"))
    rows = dict(row for row in page.table("How this was made", "Configuration"))
    assert rows == {
        "source": config["source"],
        "optim.name": config["optim"]["name"],
        "optim.lr": str(config["optim"]["lr"]),
        "seed": str(config["seed"]),
    }


@pytest.mark.parametrize("metric", ["macro_f1", "balanced_accuracy", "accuracy"])
def test_methods_are_compared_by_the_results_themselves(
    study: Sections, results: dict[str, list[dict[str, Any]]], metric: str
) -> None:
    values = {name: [run["test"][metric]["value"] for run in runs] for name, runs in results.items()}
    words = {"macro_f1": "macro-F1", "balanced_accuracy": "balanced accuracy", "accuracy": "accuracy"}
    rows = {row[0]: row for row in study.table("Methods compared", f"{words[metric]} on test images")}
    for name, found in values.items():
        half = stats.t.ppf(0.975, 2) * np.std(found, ddof=1) / 3**0.5
        low, high = max(0.0, np.mean(found) - half), min(1.0, np.mean(found) + half)
        assert rows[name][1:4] == [
            f3(np.mean(found)),
            f"{low:.3f} to {high:.3f}",
            "  ".join(f3(v) for v in found),
        ]
    tested = stats.ttest_rel(values["csba"], values["baseline"])
    ends = tested.confidence_interval()
    assert rows["csba"][4] == s3(np.subtract(values["csba"], values["baseline"]).mean())
    assert rows["csba"][5] == f"{ends.low:+.3f} to {ends.high:+.3f}"
    assert rows["csba"][6] == ("< 0.001" if tested.pvalue < 0.001 else f3(tested.pvalue))
    assert rows["baseline"][4:] == ["", "", "", "", "reference"]


def test_dots_are_the_runs(study: Sections, compared: dict[str, Any]) -> None:
    drawn = study.figures["Methods compared"]["macro-F1 of every run"]["data"]
    rows = [row for row in compared["rows"] if row["metric"] == "macro_f1"]
    for row, (runs, mean) in zip(rows, zip(drawn[::2], drawn[1::2], strict=True), strict=True):
        assert runs["x"] == pytest.approx(row["per_seed"], abs=6e-5)
        assert mean["x"] == pytest.approx([row["mean"]], abs=6e-5)
        assert mean["x"][0] + mean["error_x"]["array"][0] == pytest.approx(row["high"], abs=2e-4)
        assert mean["x"][0] - mean["error_x"]["arrayminus"][0] == pytest.approx(row["low"], abs=2e-4)


def test_differences_of_classes_are_widened_for_resampled_splits(
    study: Sections, results: dict[str, list[dict[str, Any]]]
) -> None:
    rows = {row[0]: row for row in study.table("Every class", "F1 of every class")}
    one = results["csba"][0]
    ratio = one["test"]["images"] / sum(one["classes"]["counts"])
    for k, name in enumerate(one["classes"]["names"]):
        a, b = (
            np.array([run["test"]["classes"][k]["f1"]["value"] for run in results[m]])
            for m in ("csba", "baseline")
        )
        difference = a - b
        half = stats.t.ppf(0.975, 2) * difference.std(ddof=1) * (1 / 3 + ratio) ** 0.5
        wanted = f"{difference.mean():+.3f}"
        if difference.std() > 1e-12:
            wanted += f" ({difference.mean() - half:+.3f} to {difference.mean() + half:+.3f})"
        assert rows[name][4] == wanted


def test_study_confusion_adds_up_its_runs(study: Sections, results: dict[str, list[dict[str, Any]]]) -> None:
    for name, runs in results.items():
        rows = study.table("Where the errors go", f"Counts, {name} ")
        total = np.sum([run["test"]["confusion"] for run in runs], axis=0)
        assert [[int(cell) for cell in row[1:]] for row in rows] == total.tolist()


@pytest.mark.parametrize("method", ["baseline", "csba"])
def test_study_interference_is_the_mean_over_seeds(
    study: Sections, results: dict[str, list[dict[str, Any]]], study_folder: Path, method: str
) -> None:
    places = sorted((study_folder / "runs").glob(f"*.{method}.seed*"))
    found = [Interference.load(place / "interference" / "heldout") for place in places]
    excess = np.array([pairs_mean(one.conflict - one.null) for one in found])
    rows = study.table("Which classes oppose one another", "Mean over all pairs")
    row = next(row for row in rows if row[0] == method)
    ratio = results[method][0]["test"]["images"] / sum(results[method][0]["classes"]["counts"])
    half = stats.t.ppf(0.975, 2) * excess.std(ddof=1) * (1 / 3 + ratio) ** 0.5  # splits are drawn anew
    assert row[2] == s3(np.mean([pairs_mean(one.conflict) for one in found]))
    assert row[4:] == [s3(excess.mean()), f"{excess.mean() - half:+.3f} to {excess.mean() + half:+.3f}"]
    figures = study.figures["Which classes oppose one another"]
    drawn = np.array(figures[f"Conflict: {method}"]["data"][0]["z"], dtype=float)
    mean = np.mean([one.conflict for one in found], axis=0)
    np.testing.assert_allclose(drawn, mean, atol=5.1e-4)


def test_only_methods_with_branches_have_branches(study: Sections) -> None:
    assert [title.split(",")[0] for title in study.figures["Branches"]] == ["Branch shares: csba"]


def test_runs_are_listed_with_their_splits(study: Sections, study_folder: Path) -> None:
    rows = study.table("How this was made", "Runs")
    assert {row[0] for row in rows} == {path.name for path in (study_folder / "runs").iterdir()}
    for name, method, seed, epochs, kept, _, sha in rows:
        split = json.loads((study_folder / "runs" / name / "split.json").read_text())
        assert name.endswith(f".{method}.seed{seed}")
        assert (epochs, kept, sha) == ("15", "12", split["sha256"])


def test_mcnemar_counts_are_those_of_the_comparison(study: Sections, compared: dict[str, Any]) -> None:
    rows = study.table("Methods compared", "Exact McNemar")
    (found,) = compared["mcnemar_seed0"]
    assert rows == [["csba", "baseline", *map(str, found["images"].values()), f3(found["p"])]]


@pytest.mark.parametrize("missing", [("heldout",), ("heldout", "early"), ("heldout", "early", "train")])
def test_missing_measurements_are_left_out(
    tmp_path: Path, make_run: Callable[..., Any], missing: tuple[str, ...]
) -> None:
    left = tuple(m for m in ("early", "train", "heldout") if m not in missing)
    make_run(tmp_path / "run", moments=left)
    found = Sections(write_report(tmp_path / "run"))
    section = "Which classes oppose one another"
    assert (section in found.titles) == ("Branches" in found.titles) == bool(left)
    if left:
        assert len(found.table(section, "Mean over all pairs")) == len(left)
        words = {"early": "after the first epoch", "train": "network kept, training images"}
        assert f"Shown here: {words[left[0]]}." in found.paragraphs[section]


def test_focus_card_holds_the_judged_figure(tmp_path: Path, make_run: Callable[..., Any]) -> None:
    made = make_run(tmp_path / "run", names=("a", "b", "c"), counts=(60, 30, 5), focus="c")
    card, *others = Sections(write_report(tmp_path / "run")).cards
    figure = made["focus"]["f1"]
    assert card["label"] == "F1 of c, threshold 0.370"
    assert (card["value"], card["note"]) == (
        f3(figure["value"]),
        f"95 %: {figure['low']:.3f} to {figure['high']:.3f}",
    )
    assert len(others) == 4
