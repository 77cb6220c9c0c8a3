"""tailgrad audit-claims as one types it."""

import json
import re
from pathlib import Path
from typing import Any

ROWS = "class,precision,recall,f1\na,0.500,0.500,0.500\nb,0.750,0.750,0.750\n"


def test_an_impossible_table_is_an_answer_and_no_error(cli: Any) -> None:
    done = cli("audit-claims", "csba-cifar10-lt")
    assert (done.status, done.err) == (0, "")
    lines = done.out.splitlines()
    assert "Can it be true? impossible" in lines
    assert "impossible: baseline, accuracy: It is 0.675 and the mean recall is 0.5716." in lines
    findings = [line for line in lines[3:] if line]
    assert all(re.match("(consistent|impossible|cannot be told): ", line) for line in findings)


def test_json_holds_every_number(cli: Any) -> None:
    found = json.loads(cli("audit-claims", "csba-pv", "--bound", 90, "--json").out)
    assert found["verdict"] == "consistent"
    counts = found["table"][0]["numbers"]
    assert counts["unique"]["supports"] == [40, 41, 44, 19, 13, 25]
    assert [gain["verdict"] for gain in found["gain"]] == ["cannot be told"] * 3


def test_options_say_what_a_csv_lacks(cli: Any, here: Path) -> None:
    Path("t.csv").write_text(ROWS)
    done = cli("audit-claims", "t.csv", "--accuracy", "0.667", "--test-images", 12)
    assert "4/8 = 12 images, 8 right" in done.out
    wrong = cli("audit-claims", "t.csv", "--accuracy", "0.667", "--test-images", 11)
    assert (wrong.status, "Can it be true? impossible" in wrong.out) == (0, True)
    Path("p.csv").write_text(ROWS.replace("0.500", "50.0").replace("0.750", "75.0"))
    assert "which looks like percent; say --percent" in cli("audit-claims", "p.csv").error
    assert cli("audit-claims", "p.csv", "--percent", "--decimals", 1).status == 0


def test_bad_input_ends_with_status_2(cli: Any, here: Path) -> None:
    assert "did you mean 'csba-pv'?" in cli("audit-claims", "csba-p").error
    Path("t.csv").write_text(ROWS.replace("recall", "recal"))
    assert "did you mean 'recall'?" in cli("audit-claims", "t.csv").error
    assert "bound must be in [1, 3000], got 0" in cli("audit-claims", "csba-pv", "--bound", 0).error
