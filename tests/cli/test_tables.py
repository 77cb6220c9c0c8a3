"""Tables on the command line: audited, trained, predicted, and refused in one line."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

FEW = ("--set", "train.epochs=1", "--set", "interference.enabled=false", "--set", "train.threads=1")


@pytest.fixture
def table(here: Path) -> Path:
    lines = ["patient,age,town,sick"]
    for i in range(60):
        sick = i % 4 == 0
        lines.append(f"p{i},{30 + i % 7 + 9 * sick}.{i % 10},{'nse'[i % 3]},{'yes' if sick else 'no'}")
    (here / "patients.csv").write_text("\n".join(lines) + "\n")
    return here / "patients.csv"


def test_an_audit_names_the_odd_column_and_the_next_command(cli: Callable[..., Any], table: Path) -> None:
    found = cli("audit", "patients.csv", "--target", "sick", "-q")
    assert found.status == 0
    assert "60 rows, 2 classes" in found.out
    assert "column 'patient' has 60 categories in 60 rows" in found.out
    assert "tailgrad compare patients.csv --target sick --methods ce,balanced_softmax,smote" in found.out


def test_a_recipe_is_made_trained_and_predicted_with(
    cli: Callable[..., Any], table: Path, here: Path
) -> None:
    made = cli("new", table, "--target", "sick", "--drop", "patient", "--out", "r.yaml", "-q")
    assert made.status == 0
    text = (here / "r.yaml").read_text()
    assert "target: sick" in text
    assert "drop: [patient]" in text
    assert "size" not in text
    trained = cli("train", table, "--recipe", "r.yaml", *FEW, "--out", "run", "-q")
    assert trained.status == 0, trained.err
    (here / "new.csv").write_text("age,town\n31,n\n44,z\n")
    found = cli("predict", "run", "new.csv")
    assert found.status == 0, found.err
    assert "new.csv#1" in found.out
    assert "column 'town': 1 row with a category that training has not seen" in found.err


def test_a_network_is_exported_and_trees_are_refused_in_one_line(
    cli: Callable[..., Any], table: Path, here: Path
) -> None:
    for method in ("ce", "hist_gradient_boosting"):
        words = ("--target", "sick", "--drop", "patient", "--method", method, *FEW, "--out", method, "-q")
        assert cli("train", table, *words).status == 0
    made = cli("export", "ce", "--onnx", "--int8", "--out", "m.onnx")
    assert made.status == 0, made.err
    assert "test rows of the run" in made.err
    assert "image" not in made.out + made.err
    assert cli("predict", "m.onnx", table, "--csv", "out.csv", "-q").status == 0
    assert (here / "out.csv").read_text().count("patients.csv#") == 60
    assert "which predict fits again because nothing" in cli("export", method, "--onnx").error


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--target", "sik"), "target must name a column of the table, got 'sik'; did you mean 'sick'?"),
        (
            ("--target", "sick", "--drop", "twn"),
            "drop must name a column of the table, got 'twn'; did you mean",
        ),
        (("--target", "age"), "target 'age' must hold classes, got 60 different numbers"),
        (("--drop", "age"), "drop must be left out for images, got age; name the column of a table's"),
        (("--target", "sick", "--regime", "digits"), "model.name must take rows of a table, got 'tripath'"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    cli: Callable[..., Any], table: Path, here: Path, words: tuple[str, ...], message: str
) -> None:
    assert message in cli("train", "patients.csv", *words).error
    assert not (here / "runs").exists()


def test_a_list_without_paths_points_to_the_target(cli: Callable[..., Any], table: Path) -> None:
    assert "--target" in cli("train", "patients.csv").error
