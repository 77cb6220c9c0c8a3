import csv
import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from scipy import stats

from tailgrad.checks import InputError
from tailgrad.engine import Diverged, Interrupted
from tailgrad.recipes import compare, table, train
from tailgrad.recipes.compose import merge
from tailgrad.recipes.conclude import conclude, mcnemar
from tailgrad.recipes.config import Config
from tailgrad.recipes.run_folder import RunFolder
from tailgrad.recipes.study_runs import StudyRuns
from tailgrad.recipes.table import _columns, table_rows
from tailgrad.recipes.table_text import as_latex, as_markdown
from tailgrad.report.folders import read_study

METHODS = ["baseline", "csba"]


@pytest.fixture(scope="module")
def study(photos: Path, fast: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    out = tmp_path_factory.mktemp("studies") / "one"
    return compare(photos, METHODS, seeds=2, regime="quick", overrides=fast, out=out)


def _result(value: float, *, worst: float = 0.1, images: int = 30, train: int = 70) -> dict[str, Any]:
    figures = {name: {"value": value} for name in ("macro_f1", "balanced_accuracy", "accuracy")}
    rows = [{"f1": {"value": worst}, "support": 3}, {"f1": {"value": value}, "support": 3}]
    test = {**figures, "classes": rows, "images": images}
    return {"test": test, "train_images": train, "tuned": {"macro_f1": value}}


def test_a_study_leaves_every_file_of_the_contract(study: Any) -> None:
    names = {p.name for p in study.folder.iterdir()}
    assert names == {"study.yaml", "speed.json", "comparison.json", "results.parquet", "report.html", "runs"}
    runs = {p.name for p in (study.folder / "runs").iterdir()}
    assert runs == {f"photos.quick.{m}.split{s}.seed{s}" for m in METHODS for s in (0, 1)}
    content = yaml.safe_load((study.folder / "study.yaml").read_text())
    assert content["differences"] == ["head.name"]
    assert content["own_test"] is False


def test_methods_share_splits_and_seeds_draw_their_own(study: Any) -> None:
    def hash_of(method: str, seed: int) -> str:
        path = study.folder / "runs" / f"photos.quick.{method}.split{seed}.seed{seed}" / "split.json"
        return str(json.loads(path.read_text())["sha256"])

    for seed in (0, 1):
        assert hash_of("baseline", seed) == hash_of("csba", seed)
    assert hash_of("baseline", 0) != hash_of("baseline", 1)


def test_rows_follow_from_the_runs(study: Any) -> None:
    stored = pq.read_table(study.folder / "results.parquet").to_pylist()
    assert len(stored) == 4
    for row in study.comparison["rows"]:
        values = [r[row["metric"]] for r in stored if r["method"] == row["method"]]
        assert row["per_seed"] == values
        assert row["mean"] == pytest.approx(np.mean(values))
    for row in stored:
        name = f"photos.quick.{row['method']}.split{row['split_seed']}.seed{row['seed']}"
        result = RunFolder(study.folder / "runs" / name).result()
        assert row["macro_f1"] == result["test"]["macro_f1"]["value"]
        assert row["worst_f1"] == min(c["f1"]["value"] for c in result["test"]["classes"])


def test_differences_are_paired_by_seed_with_the_corrected_variance() -> None:
    a, b = [0.50, 0.56, 0.61, 0.58], [0.55, 0.62, 0.63, 0.66]
    results = {"a": [_result(v) for v in a], "b": [_result(v) for v in b]}
    for own_test, extra in ((True, 0.0), (False, 30 / 70)):
        found = conclude(results, own_test=own_test)
        row = next(r for r in found["paired"] if r["metric"] == "macro_f1")
        difference = np.subtract(b, a)
        half = stats.t.ppf(0.975, 3) * difference.std(ddof=1) * np.sqrt(1 / 4 + extra)
        assert row["mean"] == pytest.approx(difference.mean())
        assert (row["low"], row["high"]) == pytest.approx(
            (difference.mean() - half, difference.mean() + half)
        )
    assert found["paired"][0]["against"] == "a"


def test_holm_takes_a_verdict_back() -> None:
    better = [0.51, 0.52, 0.54, 0.55]
    reference = [0.50, 0.505, 0.515, 0.512]
    alone = conclude({"a": [_result(v) for v in reference], "b": [_result(v) for v in better]}, own_test=True)
    row = alone["paired"][0]
    assert (row["verdict"], row["p"] < 0.05) == ("better", True)
    crowd = {
        f"c{i}": [_result(v + 0.001 * i * (-1) ** j) for j, v in enumerate(reference)] for i in range(1, 9)
    }
    many = {
        "a": alone["rows"] and [_result(v) for v in reference],
        "b": [_result(v) for v in better],
        **crowd,
    }
    found = next(r for r in conclude(many, own_test=True)["paired"] if r["method"] == "b")
    assert found["p"] == pytest.approx(row["p"])
    assert found["p_holm"] > found["p"]
    assert found["verdict"] == ("better" if found["p_holm"] < 0.05 else "cannot be told")


def test_the_sentence_says_what_the_numbers_say() -> None:
    def sentence(runs: dict[str, list[float]]) -> str:
        results = {name: [_result(v) for v in values] for name, values in runs.items()}
        return str(conclude(results, own_test=True)["conclusion"])

    low, high = [0.50, 0.51, 0.52], [0.60, 0.62, 0.61]
    assert sentence({"a": low, "b": high}).startswith("Over 3 seeds, b has a higher macro-F1 than a by +0.1")
    assert "a has a lower macro-F1 than b (-0.1" in sentence({"b": high, "a": low})
    assert "cannot be told" in sentence({"a": [0.3, 0.7, 0.5], "b": [0.6, 0.4, 0.55]})
    assert "nothing can be concluded" in sentence({"a": [0.5], "b": [0.6]})


def test_mcnemar_reads_the_stored_predictions(study: Any) -> None:
    folders = {m: RunFolder(study.folder / "runs" / f"photos.quick.{m}.split0.seed0") for m in METHODS}
    row = mcnemar(folders)[0]
    right = {}
    for name, folder in folders.items():
        rows = pq.read_table(folder.path / "predictions.parquet").to_pylist()
        right[name] = np.array([r["target"] == r["predicted"] for r in rows if r["part"] == "test"])
    only = int((right["csba"] & ~right["baseline"]).sum()), int((~right["csba"] & right["baseline"]).sum())
    assert row["images"] == {"only_csba": only[0], "only_baseline": only[1]}
    assert row["p"] == pytest.approx(stats.binomtest(only[0], sum(only)).pvalue if sum(only) else 1.0)


def test_a_finished_study_is_not_trained_again_and_can_grow(
    study: Any, photos: Path, fast: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match="study folder must be new"):
        compare(photos, METHODS, seeds=2, regime="quick", overrides=fast, out=study.folder)
    before = {p: p.stat().st_mtime_ns for p in study.folder.rglob("weights.safetensors")}
    again = compare(photos, METHODS, seeds=2, regime="quick", overrides=fast, out=study.folder, resume=True)
    assert again.comparison["rows"] == study.comparison["rows"]
    assert before == {p: p.stat().st_mtime_ns for p in study.folder.rglob("weights.safetensors")}
    slower = merge(fast, {"optim": {"lr": 0.01}})
    with pytest.raises(InputError, match="optim.lr must stay as the run"):
        compare(photos, METHODS, seeds=2, regime="quick", overrides=slower, out=study.folder, resume=True)


@pytest.fixture
def copied(study: Any, tmp_path: Path) -> Path:
    """The finished study, to be changed."""
    return Path(shutil.copytree(study.folder, tmp_path / "copy"))


def test_a_damaged_result_says_what_mends_it(copied: Path, photos: Path, fast: dict[str, Any]) -> None:
    before = json.loads((copied / "comparison.json").read_text())
    damaged = next((copied / "runs").glob("*csba*seed1")) / "result.json"
    damaged.write_text(damaged.read_text()[:-9])
    given: dict[str, Any] = {"seeds": 2, "regime": "quick", "overrides": fast, "out": copied, "resume": True}
    with pytest.raises(InputError, match=r"result.json must be .* remove it and go on with --resume$"):
        compare(photos, METHODS, **given)
    damaged.unlink()
    assert compare(photos, METHODS, **given).comparison == before


def test_a_method_that_ran_still_counts_as_a_test(
    copied: Path, photos: Path, fast: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    def again(methods: list[str]) -> dict[str, Any]:
        return compare(
            photos, methods, seeds=2, regime="quick", overrides=fast, out=copied, resume=True
        ).comparison

    found = again(["csba"])
    assert found["dropped"] == ["baseline"]
    assert yaml.safe_load((copied / "study.yaml").read_text())["dropped"] == ["baseline"]
    assert "warning: ran in this study before and not compared any more: baseline;" in capsys.readouterr().err
    assert "counted as tests by Holm's correction: baseline." in found["conclusion"]
    assert "Holm's correction counts baseline too" in table(copied)
    assert again(["csba"])["dropped"] == ["baseline"], "once dropped, always so"
    assert "dropped" not in again(METHODS)


def test_runs_of_seeds_that_are_not_asked_for_any_more_are_named(
    copied: Path, photos: Path, fast: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    again = compare(photos, METHODS, seeds=1, regime="quick", overrides=fast, out=copied, resume=True)
    others = sorted(path.name for path in (copied / "runs").iterdir() if path.name.endswith("seed1"))
    assert again.comparison["left_out"] == others
    assert len(others) == len(METHODS)
    assert f"{len(others)} finished runs of other seeds or splits are not compared" in capsys.readouterr().err
    assert again.comparison["conclusion"].endswith(f"left out: {len(others)} runs of other seeds or splits.")
    shown = read_study(copied)
    assert {run.result["seed"] for run in shown.all_runs} == {0}
    assert shown.unfinished == {}
    whole = compare(photos, METHODS, seeds=2, regime="quick", overrides=fast, out=copied, resume=True)
    assert "left_out" not in whole.comparison
    assert len(read_study(copied).all_runs) == 2 * len(METHODS)


def test_what_was_dropped_widens_the_correction() -> None:
    runs = {"a": [0.50, 0.505, 0.515, 0.512], "b": [0.51, 0.52, 0.54, 0.55]}
    results = {name: [_result(v) for v in values] for name, values in runs.items()}
    alone, found = (conclude(results, own_test=True, dropped=gone) for gone in ([], ["c", "d"]))
    before, after = alone["paired"][0], found["paired"][0]
    assert (before["p"], before["p_holm"]) == (after["p"], before["p"])
    assert after["p_holm"] == pytest.approx(3 * before["p"])
    assert after["detectable"] > before["detectable"]


def test_a_run_that_lost_its_predictions_is_evaluated_again(
    copied: Path, photos: Path, fast: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    lost = copied / "runs" / "photos.quick.csba.split1.seed1"
    before = pq.read_table(lost / "predictions.parquet"), (lost / "metrics.jsonl").read_text()
    others = {path: path.stat().st_mtime_ns for path in copied.rglob("predictions.parquet")}
    others.pop(lost / "predictions.parquet")
    (lost / "predictions.parquet").unlink()
    found = compare(photos, METHODS, seeds=2, regime="quick", overrides=fast, out=copied, resume=True)
    said = capsys.readouterr().err
    assert f"warning: {lost} has a result and no predictions.parquet; it is evaluated again" in said
    assert "4 runs, 3 of them finished;" in said
    assert "runs left" not in said, "one is left, and it says so by its own time"
    assert pq.read_table(lost / "predictions.parquet").equals(before[0])
    assert (lost / "metrics.jsonl").read_text() == before[1], "nothing was trained again"
    assert others == {path: path.stat().st_mtime_ns for path in others}
    assert found.comparison["rows"][0]["n"] == 2


def test_a_run_of_its_own_notices_it_too(
    run: Any, photos: Path, quick: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(run.folder, tmp_path / "run"))
    before = pq.read_table(folder / "predictions.parquet")
    (folder / "predictions.parquet").unlink()
    again = train(photos, "quick", overrides=quick, out=folder, resume=True)
    assert "has a result and no predictions.parquet; it is evaluated again" in capsys.readouterr().err
    assert pq.read_table(folder / "predictions.parquet").equals(before)
    assert again.result["test"] == run.result["test"]


def test_python_hears_what_happens_unless_it_asks_for_silence(
    copied: Path, photos: Path, fast: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments: dict[str, Any] = {
        "seeds": 2,
        "regime": "quick",
        "overrides": fast,
        "out": copied,
        "resume": True,
    }
    compare(photos, METHODS, console=None, **arguments)
    assert capsys.readouterr() == ("", "")
    compare(photos, METHODS, **arguments)
    out, err = capsys.readouterr()
    assert out == ""
    assert "4 runs, 4 of them finished; the methods differ in head.name" in err


def test_time_used_up_stops_a_study_without_a_verdict(
    photos: Path, fast: dict[str, Any], tmp_path: Path
) -> None:
    short = merge(fast, {"train": {"max_minutes": 1e-6}})
    with pytest.raises(Interrupted, match="time was used up"):
        compare(photos, METHODS, seeds=1, regime="quick", overrides=short, out=tmp_path / "s")
    assert not (tmp_path / "s" / "comparison.json").exists()
    done = compare(photos, METHODS, seeds=1, regime="quick", overrides=fast, out=tmp_path / "s", resume=True)
    assert "nothing can be concluded" in done.conclusion


def test_methods_may_be_objects_and_overlays(photos: Path, fast: dict[str, Any], tmp_path: Path) -> None:
    from tailgrad.losses import FocalLoss

    mine = {"focal, mine": FocalLoss, "two": {"head": {"name": "csba", "options": {"branches": 2}}}}
    found = compare(photos, mine, seeds=1, regime="quick", overrides=fast, out=tmp_path / "s")
    assert [row["method"] for row in found.comparison["rows"][:2]] == ["focal, mine", "two"]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ({"methods": []}, "at least one name"),
        ({"methods": "baseline"}, "must be a list of names"),
        ({"methods": ["csba", "csba"]}, "'csba' twice"),
        ({"methods": ["baseline", "cbsa"]}, "did you mean 'csba'"),
        ({"seeds": 0}, "seeds must be in"),
        ({"overrides": {"loss": {"name": "focal"}}}, "keys of the regime only, got 'loss'"),
        ({"regime": "quik"}, "did you mean 'quick'"),
        ({"methods": [3]}, "method must be a name"),
        ({"methods": None}, "must be a list of names or a mapping from names, got None"),
        ({"methods": {3: "ce"}}, "names that can name a folder, got 3; take '3'"),
        ({"methods": {"": "ce"}}, "names that can name a folder, got ''"),
        ({"seeds": 2.5}, "seeds must be a whole number, got 2.5"),
        ({"split_seeds": ["a"]}, r"split_seeds must be different whole numbers of at least 0, got \['a'\]"),
    ],
)
def test_bad_input(photos: Path, tmp_path: Path, call: dict[str, Any], words: str) -> None:
    arguments = {"methods": METHODS, "seeds": 1, "regime": "quick"} | call
    with pytest.raises(InputError, match=words):
        compare(photos, arguments.pop("methods"), out=tmp_path / "s", **arguments)
    assert not (tmp_path / "s").exists()


def test_tables_in_three_formats_hold_the_same_cells(study: Any) -> None:
    rows = table_rows(study.comparison, "macro_f1")
    text = table(study.folder, "csv")
    assert [list(row) for row in csv.reader(io.StringIO(text))] == rows
    markdown = table(study.folder, "md").splitlines()
    assert [cell.strip() for cell in markdown[2].strip("|").split("|")] == rows[1]
    assert table(study.folder, metric=[]) == table(study.folder), "no metric is the headline"
    with pytest.raises(InputError, match="metric must be a known name, got 'f1'"):
        table(study.folder, "md", "f1")
    with pytest.raises(InputError, match="group must be left out"):
        table(study.folder, group="one")


def test_recall_of_groups_by_training_count_is_the_mean_over_their_classes(study: Any) -> None:
    rows = {row["metric"]: row for row in study.comparison["rows"] if row["method"] == "csba"}
    assert {name for name in rows if name.startswith("recall_")} == {"recall_few"}, "16 at most to train on"
    for seed, value in enumerate(rows["recall_few"]["per_seed"]):
        run = RunFolder(study.folder / "runs" / f"photos.quick.csba.split{seed}.seed{seed}").result()
        assert max(run["classes"]["counts"]) < 20
        assert value == pytest.approx(np.mean([row["recall"]["value"] for row in run["test"]["classes"]]))
    shown = list(csv.reader(io.StringIO(table(study.folder, "csv", ["accuracy", "recall_few"]))))
    assert shown[0] == ["method", "seeds", "accuracy", "recall, few"]
    assert shown[2][3].startswith(f"{rows['recall_few']['mean']:.3f} [")
    with pytest.raises(InputError, match="metric recall_many needs classes with that many training images"):
        table(study.folder, metric="recall_many")


def test_a_table_counts_splits_as_splits() -> None:
    row = {"method": "a", "metric": "accuracy", "n": 4, "mean": 0.5, "low": None, "high": None}
    content = {"unit": "split", "rows": [row], "paired": []}
    assert table_rows(content, "accuracy")[0][:2] == ["method", "splits"]
    assert _columns(content, ["accuracy"])[0] == ["method", "splits", "accuracy"]
    before = {key: value for key, value in content.items() if key != "unit"}
    assert table_rows(before, "accuracy")[0][1] == "seeds"
    more = content | {"rows": [row, row | {"method": "b", "n": 3}]}
    assert "textbf" not in as_latex({"": table_rows(more, "accuracy")}, {})


def test_latex_can_be_pasted(study: Any) -> None:
    text = table(study.folder, "latex", "worst_f1")
    assert text.startswith("% needs \\usepackage{booktabs}")
    for word in ("table", "tabular"):
        assert text.count(f"\\begin{{{word}}}") == text.count(f"\\end{{{word}}}") == 1
    assert "\\begin{tabular}{lrrrrl}" in text
    assert "\\label{tab:one}" in text
    body = text.split("\\midrule\n")[1].split("\\bottomrule")[0].strip().splitlines()
    assert [line.count(" & ") for line in body] == [5] * len(METHODS)
    means = [row["mean"] for row in study.comparison["rows"] if row["metric"] == "worst_f1"]
    bold = [f"\\textbf{{{mean:.3f}}}" in line for mean, line in zip(means, body, strict=True)]
    shown = [f"{mean:.3f}" for mean in means]
    assert bold == [len(set(shown)) > 1 and text == max(shown) for text in shown]


def test_a_study_of_groups_is_a_table_a_group(study: Any, tmp_path: Path) -> None:
    for name in ("first", "second_one"):
        (tmp_path / name).mkdir()
        shutil.copy(study.folder / "comparison.json", tmp_path / name)
    one = table(study.folder)
    assert table(tmp_path) == f"**first**\n\n{one}\n\n**second_one**\n\n{one}"
    assert table(tmp_path, group="first") == f"**first**\n\n{one}"
    rows = list(csv.reader(io.StringIO(table(tmp_path, "csv"))))
    assert [row[0] for row in rows] == ["group", "first", "first", "second_one", "second_one"]
    latex = table(tmp_path, "latex")
    assert latex.count("\\begin{table}") == 2
    assert "\\caption{second\\_one: Means" in latex
    with pytest.raises(InputError, match="group must be a known name, got 'frist'; did you mean 'first'"):
        table(tmp_path, group="frist")


def test_special_characters_do_not_break_a_table() -> None:
    row = {"method": "a|b_c&%<", "metric": "accuracy", "n": 1, "mean": 0.5, "low": None, "high": None}
    rows = {"": table_rows({"rows": [row], "paired": []}, "accuracy")}
    assert r"a\|b_c&%<" in as_markdown(rows, {})
    assert r"a\textbar{}b\_c\&\%\textless{}" in as_latex(rows, {}, "x")
    minus = as_latex({"": [["method", "difference"], ["a", "-0.04 [-0.1, +0.02]"]]}, {}, "x")
    assert "$-0.04$ [$-0.1$, $+0.02$]" in minus


def test_a_run_that_diverges_does_not_stop_the_others(
    photos: Path, fast: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = StudyRuns.train

    def train(runs: StudyRuns, config: Config) -> None:
        if config.method == "ce":
            raise Diverged("loss is nan at step 1")
        whole(runs, config)

    tiny = merge(fast, {"model": {"name": "resnet32"}, "data": {"size": 16}, "train": {"epochs": 1}})
    monkeypatch.setattr(StudyRuns, "train", train)
    with pytest.raises(Diverged, match=r"1 of 2 runs failed, .* are kept: ce seed 0: loss is nan at step 1"):
        compare(photos, ["ce", "focal"], seeds=1, regime="quick", overrides=tiny, out=tmp_path / "s")
    assert [path.parent.name for path in tmp_path.glob("s/runs/*/result.json")] == [
        "photos.quick.focal.split0.seed0"
    ]
    assert not (tmp_path / "s" / "comparison.json").exists()
    failed = tmp_path / "s" / "runs" / "photos.quick.ce.split0.seed0" / "failure.json"
    assert "loss is nan at step 1" in failed.read_text()
    assert "loss is nan at step 1" in (tmp_path / "s" / "report.html").read_text(encoding="utf-8")


def test_a_run_that_cannot_be_had_does_not_stop_the_others(
    photos: Path, fast: dict[str, Any], tmp_path: Path
) -> None:
    tiny = merge(fast, {"model": {"name": "resnet32"}, "data": {"size": 16}, "train": {"epochs": 1}})
    twice = {"loss": {"name": "balanced_softmax"}, "sampler": {"name": "class_balanced"}}
    methods: dict[str, Any] = {"focal": "focal", "twice": twice, "ce": "ce"}
    given: dict[str, Any] = {"seeds": 1, "regime": "quick", "out": tmp_path / "s"}
    with pytest.raises(
        InputError, match=r"1 of 3 runs failed, .* are kept: twice seed 0: .*correct"
    ) as refusal:
        compare(photos, methods, overrides=tiny, **given)
    assert isinstance(refusal.value.__cause__, InputError)
    finished = {path.parent.name.split(".")[2] for path in tmp_path.glob("s/runs/*/result.json")}
    assert finished == {"focal", "ce"}
    del methods["twice"]
    assert compare(photos, methods, overrides=tiny, resume=True, **given).comparison["rows"]


def test_a_study_with_another_configuration_ends_before_it_trains(
    photos: Path, fast: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = merge(fast, {"model": {"name": "resnet32"}, "data": {"size": 16}, "train": {"epochs": 1}})
    given: dict[str, Any] = {"seeds": 1, "regime": "quick", "out": tmp_path / "s"}
    compare(photos, ["focal"], overrides=tiny, **given)
    (begun,) = tmp_path.glob("s/runs/*/result.json")
    begun.unlink()
    trained: list[str] = []
    monkeypatch.setattr(StudyRuns, "train", lambda _, config: trained.append(config.method))
    with pytest.raises(InputError, match=r"^optim.lr must stay as the run"):
        compare(photos, ["ce", "focal"], overrides=merge(tiny, {"optim": {"lr": 0.5}}), resume=True, **given)
    assert not trained
    monkeypatch.undo()
    told = begun.with_name("failure.json")
    told.write_text('{"text": "loss is nan"}')
    compare(photos, ["focal"], overrides=tiny, resume=True, **given)
    assert not told.exists(), "what ended a sitting before is past"
