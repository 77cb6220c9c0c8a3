"""The page of evidence says what the committed studies say, ours included."""

import json
import re
import runpy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tailgrad.evidence import read_study, studies
from tailgrad.evidence.changed_claims import changed_claims
from tailgrad.evidence.present_words import with_present_words
from tailgrad.evidence.record import planned_record

ROOT = Path(__file__).resolve().parents[2]
VERDICTS = ("confirmed", "not confirmed", "cannot be told")


def table(header: Any, rows: Any) -> str:
    return "\n".join(" | ".join(cells) for cells in (header, *rows))


def made(results: Path, *, whole: bool) -> Any:
    names: Any = runpy.run_path(str(ROOT / "docs" / "generate_evidence.py"))
    return names["Page"](results, table, whole)


@pytest.fixture
def page(tmp_path: Path) -> Callable[[], str]:
    """The page of what lies in a folder."""
    return lambda: "\n\n".join(made(tmp_path, whole=True).parts())


def claim(number: int, verdict: str, **keys: Any) -> dict[str, Any]:
    found = {"value": 0.04 + number, "low": 0.01 + number, "high": 0.07 + number, "values": [0.1, 0.2, 0.3]}
    text = {"id": f"c{number}", "text": f"claim number {number}", "source": "Table 7"}
    return {
        **text,
        "above": 0.0,
        "printed": 0.0525,
        "found": found,
        "verdict": verdict,
        "why": "so it is",
        **keys,
    }


def write(folder: Path, claims: list[dict[str, Any]], name: str = "mine", size: str = "full") -> None:
    rows = [
        {"method": m, "metric": "macro_f1", "mean": mean, "low": mean - 0.1, "high": mean + 0.1, "n": 3}
        for m, mean in (("ce", 0.31), ("csba", 0.47))
    ]
    paired = {"method": "csba", "metric": "macro_f1", "mean": 0.16, "low": 0.1, "high": 0.22, "p_holm": 0.02}
    paired |= {"verdict": "better"}
    comparison = {"metric": "macro_f1", "unit": "split", "rows": rows, "paired": [paired]}
    group = {"comparison": comparison, "study": {"source": "pv", "regime": "csba-paper"}, "runs": []}
    content = {"study": name, "size": size, "question": "Is it so?", "paper": "a paper"}
    content |= {"notes": "be careful"}
    content |= {"claims": claims, "groups": {"grouped": group}, "missing": ["naive"], "failed": {}}
    content |= {"tables": [{"title": "Recall", "header": ["class"], "rows": [["cat"]], "note": "a note"}]}
    command = "tailgrad reproduce mine --out DATA/mine --resume --record results"
    content |= {"seeds": [0, 1, 2], "command": command, "commit": "abc1234"}
    content |= {"hardware": {"gpu": None, "processor": "AMD", "cores": 2}, "date": "2026-01-01"}
    (folder / f"{name}.{size}").mkdir()
    (folder / f"{name}.{size}" / "evidence.json").write_text(json.dumps(content))


def test_everything_of_a_study_is_told(page: Any, tmp_path: Path) -> None:
    sure, open_ = claim(0, "confirmed", p_holm=0.0123), claim(1, "cannot be told", found=None)
    write(tmp_path, [sure, open_, claim(2, "confirmed", p_holm=1e-7)])
    text = page()
    for said in (
        "confirmed | claim number 0 | Table 7 | above 0 | 0.0525 | 0.040 [0.010, 0.070] | 3 | 0.012",
        "confirmed | claim number 2 | Table 7 | above 0 | 0.0525 | 2.040 [2.010, 2.070] | 3 | < 0.001",
        "not measured | claim number 1 | Table 7 | above 0 | 0.0525 | not yet |  | ",
        "Of 2 claims measured, 2 are confirmed, 0 are not confirmed and 0 cannot be told. "
        "Waiting for runs in the same studies: 1.",
        "[mine](#mine-size-full) | full | Is it so? | 2 | 0 | 0 | 1",
        "Is it so? (a paper)",
        "*be careful*",
        "Groups not run yet: naive.",
        "**grouped**: pv, regime csba-paper; macro-F1, means over 3 splits, differences to ce.",
        "csba | 0.470 [0.370, 0.570] | 0.160 [0.100, 0.220] | 0.020 | better",
        "**Recall.** a note",
        "![Chart of mine.full](mine.full/chart.svg)",
        "`tailgrad reproduce mine`; commit abc1234; 3 seeds; AMD, 2 cores; 2026-01-01.",
    ):
        assert said in text


@pytest.mark.parametrize("verdict", VERDICTS)
def test_where_a_control_is_not_beaten_the_front_says_so(page: Any, tmp_path: Path, verdict: str) -> None:
    against: dict[str, Any] = {"group": "g", "method": "csba", "against": "wider_head"}
    if verdict == "not confirmed":
        against["found"] = {"value": -0.1, "low": -0.2, "high": -0.05, "values": [-0.1]}
    write(tmp_path, [claim(0, verdict, **against), claim(1, "confirmed", method="csba", against="baseline")])
    front = page().split("## First of all")[1].split("## ")[0]
    counts = {word: int(word == verdict) for word in VERDICTS}
    assert "`csba` against controls with as many parameters: of 1 claim measured" in front
    assert f"{counts['confirmed']} {'is' if counts['confirmed'] else 'are'} confirmed" in front
    word = dict(zip(VERDICTS, ("beats", "does not beat", "is not shown to beat"), strict=True))[verdict]
    assert f"It {word} `wider_head` (mine, g)." in front
    assert f"**{verdict.capitalize()}**: claim number 0 (mine: so it is)." in front
    assert "claim number 1" not in front


@pytest.mark.parametrize("size", ["cpu", "first"])
@pytest.mark.parametrize("verdict", VERDICTS)
def test_a_smaller_size_speaks_on_the_front_where_the_full_one_does_not(
    page: Any, tmp_path: Path, verdict: str, size: str
) -> None:
    against = {"group": "g", "method": "csba", "against": "wider_head"}
    write(tmp_path, [claim(0, verdict, **against)], size=size)
    told = f"**{verdict.capitalize()}**: claim number 0 (mine, size {size}: so it is)."
    assert told in page().split("## First of all")[1].split("## ")[0]
    write(tmp_path, [claim(0, "cannot be told", found=None, **against)])
    assert told in page().split("## First of all")[1].split("## ")[0]


def test_the_full_size_counts_and_smaller_ones_are_shown(page: Any, tmp_path: Path) -> None:
    write(tmp_path, [claim(0, "confirmed")])
    write(tmp_path, [claim(0, "not confirmed")], size="cpu")
    text = page()
    assert "Of 1 claim measured, 1 is confirmed, 0 are not confirmed and 0 cannot be told." in text
    assert "## mine, size full" in text
    assert "## mine, size cpu" in text


def test_what_could_be_told_is_listed_once_refuted_first_without_checks(page: Any, tmp_path: Path) -> None:
    verdicts = ("confirmed", "cannot be told", "not confirmed", "confirmed")
    claims = [claim(i, verdict) for i, verdict in enumerate(verdicts)]
    write(tmp_path, [*claims, claim(4, "confirmed", kind="check")])
    write(tmp_path, [claim(5, "confirmed")], size="cpu")
    told = page().split("## What could be told")[1].split("## ")[0]
    assert re.findall(r"(?m)^\*\*(.+)\*\* \| claim number (\d)", told) == [
        ("not confirmed", "2"),
        ("confirmed", "0"),
        ("confirmed", "3"),
    ]
    assert "claim number 2 | Table 7 | 2.040 [2.010, 2.070] | 3 | [mine](#mine-size-full)" in told


def test_in_the_documentation_every_record_has_a_page_that_the_first_links_to(tmp_path: Path) -> None:
    write(tmp_path, [claim(0, "confirmed")])
    write(tmp_path, [claim(1, "not confirmed")], size="cpu")
    whole, parted = made(tmp_path, whole=True), made(tmp_path, whole=False)
    first, pages = "\n\n".join(parted.parts()), parted.studies()
    assert set(re.findall(r"\]\(evidence/(.+?)\)", first)) == set(pages) == {"mine.full.md", "mine.cpu.md"}
    assert (
        "Run as well, in other sizes, and not counted above: [mine, size cpu](evidence/mine.cpu.md)." in first
    )
    assert "## mine, size full" not in first
    of_one = "\n\n".join(pages["mine.full.md"])
    assert of_one.startswith("# mine, size full\n\n")
    assert "Chart: `results/mine.full/chart.svg`." in of_one
    body = of_one.split("\n\n", 2)[2].replace("Chart: `results/mine.full/chart.svg`.", "")
    assert all(part in "\n\n".join(whole.parts()) for part in body.split("\n\n"))


def test_studies_changed_after_a_look_are_marked(page: Any, tmp_path: Path) -> None:
    write(tmp_path, [claim(0, "confirmed")])
    assert "xploratory" not in page()
    path = tmp_path / "mine.full" / "evidence.json"
    path.write_text(path.read_text().replace("be careful", "Exploratory: the grid was moved."))
    assert "[mine](#mine-size-full) | full, exploratory | Is it so?" in page()
    assert "Exploratory: the claims or their settings were changed after a look at trial seeds" in page()


def test_what_has_no_record_waits_with_its_command(page: Any, tmp_path: Path) -> None:
    before = page().split("## Waiting to be run")[1]
    for name in studies():
        assert f"`tailgrad reproduce {name} " in before
    write(tmp_path, [], name="csba-pv")
    after = page()
    waiting = after.split("## Waiting to be run")[1].split("## ")[0]
    assert "reproduce csba-pv " not in waiting
    assert re.search("Claims that came to the study later and are not judged here: .", after)


def test_claims_of_each_kind_are_counted_apart_and_checks_come_last(page: Any, tmp_path: Path) -> None:
    ours = {"source": "ours, from the ledger"}
    claims = [
        claim(0, "confirmed", kind="check"),
        claim(1, "cannot be told", **ours),
        claim(2, "not confirmed"),
    ]
    write(tmp_path, claims)
    text = page()
    assert "- published by others: of 1, 0 are confirmed, 1 is not confirmed and 0 cannot be told" in text
    assert (
        "- of our own or of the field: of 1, 0 are confirmed, 0 are not confirmed and 1 cannot be told"
        in text
    )
    assert "- checks: of 1, 1 is confirmed, 0 are not confirmed and 0 cannot be told" in text
    order = re.findall(r"(?m)^(published|ours|check) \| ", text)
    assert order == ["published", "ours", "check"]


def test_a_group_says_what_its_runs_had(page: Any, tmp_path: Path) -> None:
    write(tmp_path, [claim(0, "confirmed")])
    path = tmp_path / "mine.full" / "evidence.json"
    content = json.loads(path.read_text())
    content["settings"] = {"rates": [0.1, 1], "steps": 40}
    content["groups"]["grouped"]["comparison"]["dropped"] = ["focal"]
    group = content["groups"]["grouped"]
    group["study"]["differences"] = ["loss.name"]
    group["configuration"] = {
        "model": {"name": "resnet8", "pretrained": False},
        "data": {"size": [54, 32]},
        "train": {"epochs": 15, "batch_size": 32, "augment": ["crop", "flip"]},
        "optim": {"name": "adam", "lr": 0.001},
        "schedule": {"name": "cosine"},
    }
    path.write_text(json.dumps(content))
    text = page()
    assert (
        "differences to ce. Network resnet8; images 54 x 32; 15 epochs of batches of 32; adam at 0.001, "
        "cosine schedule; augmentation crop, flip. The methods differ in `loss.name`."
    ) in text
    assert "Settings of the analysis: `{rates: [0.1, 1], steps: 40}`." in text
    assert "Holm's correction counts focal too" in text


def test_words_are_those_of_the_study_today_and_rules_those_that_judged(page: Any, tmp_path: Path) -> None:
    study = read_study("f04-adam-and-sgd").at("cpu")
    same, other = (planned_record(claim) | {"text": "old words", "found": None} for claim in study.claims[:2])
    write(tmp_path, [same, other | {"above": 0.3}], name=study.name, size="cpu")
    text = page()
    assert f"| {study.claims[0].text} |" in text
    assert f"| {study.claims[1].text} |" not in text
    assert "| old words |" in text
    assert "*be careful*" in text, "notes stay where a rule was changed"
    shutil.rmtree(tmp_path / f"{study.name}.cpu")
    write(tmp_path, [same], name=study.name, size="cpu")
    assert "old words" not in page()
    assert "be careful" not in page()


def test_a_claim_may_be_put_on_the_front_after_it_was_judged() -> None:
    study = read_study("csba-pv").at("cpu")
    asked = next(one for one in study.claims if one.front)
    before = planned_record(asked.model_copy(update={"front": False})) | {"found": {"value": 0.1}}
    assert "front" not in before
    assert with_present_words({"claims": [before]}, study)["claims"][0]["front"] is True
    assert changed_claims({"claims": [before]}, study.claims) == []


def test_pipes_in_a_heading_do_not_cut_a_table() -> None:
    lines = (ROOT / "results" / "README.md").read_text(encoding="utf-8").splitlines()
    tables = [i for i, line in enumerate(lines) if re.fullmatch(r"\|( --- \|)+", line)]
    assert any(r"mean \|difference\|" in line for line in lines)
    for rule in tables:
        columns = lines[rule].count("|")
        for line in (lines[rule - 1], lines[rule + 1]):
            assert len(re.findall(r"(?<!\\)\|", line)) == columns, line


def test_pictures_and_files_of_the_committed_page_are_there() -> None:
    text = (ROOT / "results" / "README.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)]+)\)", text)
    places = [link for link in links if link.startswith("#")]
    files = [link for link in links if not link.startswith("#")]
    titles = re.findall(r"(?m)^## (.+)$", text)
    anchors = {re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-") for title in titles}
    assert places
    assert {link.removeprefix("#") for link in places} <= anchors
    assert files
    assert all((ROOT / "results" / link).is_file() for link in files)
    for folder in (ROOT / "results").glob("*/evidence.json"):
        assert folder.stat().st_size < 10**6
        assert str(Path.home()) not in folder.read_text(encoding="utf-8")
