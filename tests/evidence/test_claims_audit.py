"""What follows from the CSBA paper's printed tables, and from tables of one's own."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

import tailgrad
from tailgrad.checks import InputError
from tailgrad.evaluate import Finding
from tailgrad.evidence import ClaimsAudit, audit_claims
from tailgrad.evidence.table_file import published, read_table

SUPPORTS = (40, 41, 44, 19, 13, 25)
BASE = ((25, 24, 32, 15, 3, 19), (45, 37, 43, 22, 10, 25))
CSBA = ((23, 24, 34, 15, 6, 17), (38, 39, 55, 20, 10, 20))


@pytest.fixture(scope="module")
def pv() -> ClaimsAudit:
    return audit_claims("csba-pv", bound=90)


@pytest.fixture(scope="module")
def cifar() -> ClaimsAudit:
    return audit_claims("csba-cifar10-lt")


def finding(found: ClaimsAudit, check: str, column: str = "") -> Finding:
    (one,) = [one for one in (*found.table, *found.gain) if (one.check, one.column) == (check, column)]
    return one


def test_published_tables_hold_printed_figures_only() -> None:
    assert set(published()) == {"csba-pv", "csba-cifar10-lt"}
    assert "supports" not in read_table("csba-pv")
    assert "test_images" not in read_table("csba-pv")


def test_photovoltaic_table_has_one_smallest_solution_and_its_double(pv: ClaimsAudit) -> None:
    counts = finding(pv, "counts").numbers
    assert counts["reading"] == "rounded"
    assert counts["complete"]
    first, second = counts["solutions"]
    assert counts["number"] == 2
    assert (first["supports"], sum(first["supports"])) == (SUPPORTS, 182)
    for column, (right, predicted) in zip(first["columns"], (BASE, CSBA), strict=True):
        assert (column["true_positive"], column["predicted"]) == (right, predicted)
        assert sum(column["predicted"]) == 182
    assert second["supports"] == tuple(2 * n for n in SUPPORTS)
    assert max(second["supports"]) < 90
    assert pv.verdict == "consistent"


def test_photovoltaic_accuracy_is_118_and_119_of_182(pv: ClaimsAudit) -> None:
    for name, right in (("baseline", 118), ("csba", 119)):
        numbers = finding(pv, "accuracy", name).numbers
        assert numbers["lowest"] <= right / 182 <= numbers["highest"]
        assert numbers["printed"] == round(right / 182, 3)
        assert finding(pv, "predictions", name).verdict == "consistent"


def test_photovoltaic_gain_cannot_be_told(pv: ClaimsAudit) -> None:
    phys = finding(pv, "recall gain").numbers
    assert (phys["class"], phys["correct"], phys["images"]) == ("Phys-Damage", [3, 6], 13)
    assert [round(case["p"], 3) for case in phys["mcnemar"]] == [0.25, 0.375, 0.453, 0.508]
    assert round(phys["fisher"], 3) == 0.411
    macro = finding(pv, "macro-F1 gain").numbers
    assert [round(value, 4) for value in macro["macro_f1"]] == [0.6153, 0.6539]
    assert [round(value, 4) for value in macro["without"]] == [0.6862, 0.6803]
    assert finding(pv, "accuracy gain").numbers["images_that_decide"] == 1
    assert {one.verdict for one in pv.gain} == {"cannot be told"}


def test_photovoltaic_parameters_are_a_question_by_themselves(pv: ClaimsAudit, cifar: ClaimsAudit) -> None:
    found = {finding.check: finding.verdict for finding in pv.parameters}
    assert found == {"csba, increase": "consistent", "gradnorm, parameters added": "impossible"}
    assert pv.verdict == "consistent"
    assert "impossible: gradnorm, parameters added: 3 are stated" in str(pv)
    assert [one["verdict"] for one in pv.to_dict()["parameters"]] == list(found.values())
    assert cifar.parameters == ()
    assert "parameters agree" not in str(cifar)


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ([1.35, 1.79], "parameters must be a mapping by network"),
        ({"new": {"before": 1.35, "after": 1.79}}, "parameters of new must have before, after, and added"),
        ({"new": {"before": 1.35, "after": 1.79, "ad": 3}}, "key of parameters, new"),
        ({"new": {"before": 1.35, "after": 1.79, "added": -3}}, "added of new must be"),
        ({"new": {"before": 1.35, "after": 1.79, "added": 2.5}}, "added of new must be a whole number"),
        ({"new": {"before": 1.35, "after": 1.79, "added": True}}, "added of new must be a whole number"),
        ({"new": {"before": "much", "after": 1.79, "added": 3}}, "before must be a number"),
    ],
)
def test_wrong_statements_on_parameters_are_named(stated: Any, message: str) -> None:
    table = {"classes": ["cat"], "columns": {"ours": {"recall": ["0.50"]}}, "parameters": stated}
    with pytest.raises(InputError, match=message):
        audit_claims(table)


def test_cifar_table_is_impossible(cifar: ClaimsAudit) -> None:
    assert cifar.verdict == "impossible"
    assert cifar.gain == ()
    for name, printed, mean, predicted in (
        ("baseline", 0.675, 0.5716, 8395),
        ("csba", 0.681, 0.6415, 9360),
    ):
        accuracy = finding(cifar, "accuracy", name)
        assert accuracy.verdict == "impossible"
        assert accuracy.numbers["printed"] == printed
        assert accuracy.numbers["implied"] == pytest.approx(mean)
        predictions = finding(cifar, "predictions", name)
        assert predictions.verdict == "impossible"
        assert round(predictions.numbers["implied"]) == predicted
    assert finding(cifar, "counts").verdict == "impossible"
    assert finding(cifar, "training counts").verdict == "impossible"


def test_cifar_f1_follow_and_most_are_truncated(cifar: ClaimsAudit) -> None:
    """From the printed P and R 18 of 20 are the truncated F1; Automobile and Bird of csba are rounded."""
    for name, macro, truncated, rounded in (("baseline", 0.5956, 10, 4), ("csba", 0.6550, 8, 6)):
        f1 = finding(cifar, "F1", name)
        assert f1.verdict == "consistent"
        assert (f1.numbers["truncated"], f1.numbers["rounded"]) == (truncated, rounded)
        mean = finding(cifar, "macro F1", name)
        assert mean.verdict == "consistent"
        assert mean.numbers["implied"] == pytest.approx(macro, abs=5e-5)


@pytest.mark.parametrize("drop", ["precision", "recall", "f1", "accuracy"])
def test_with_less_printed_less_is_said_and_nothing_wrong(drop: str) -> None:
    content = read_table("csba-pv") | {"supports": list(SUPPORTS)}
    for column in content["columns"].values():
        del column[drop]
    found = audit_claims(content)
    assert found.verdict == "consistent"
    assert (drop == "accuracy") == ("Accuracy is not printed" in str(found))


@pytest.mark.parametrize(("key", "value"), [("accuracy", "0.659"), ("macro_f1", "0.625")])
def test_a_photovoltaic_table_with_another_mean_is_impossible(key: str, value: str) -> None:
    """.659 would be 120 of 182 images, which the recalls do not leave."""
    content = read_table("csba-pv") | {"supports": list(SUPPORTS), "decimals": 3}
    content["columns"]["baseline"][key] = value
    assert audit_claims(content).verdict == "impossible"


def test_every_answer_is_json_and_one_line_each(pv: ClaimsAudit, cifar: ClaimsAudit) -> None:
    for found in (pv, cifar):
        fields = json.loads(json.dumps(found.to_dict(), allow_nan=False))
        assert fields["verdict"] == found.verdict
        lines = str(found).splitlines()
        for one in (*found.table, *found.gain):
            assert str(one) in lines
            assert str(one).startswith(one.verdict)


def test_the_call_stays_a_function_after_it_was_used(pv: ClaimsAudit) -> None:
    for _ in range(2):
        assert tailgrad.audit_claims is audit_claims


def one_model(**changed: Any) -> dict[str, Any]:
    column = {"precision": ["0.50", "0.75"], "recall": ["0.50", "0.75"], "f1": ["0.50", "0.75"]}
    return {"classes": ["a", "b"], "columns": {"ours": column}, "supports": [4, 8], **changed}


def test_one_model_has_no_gain() -> None:
    found = audit_claims(one_model(), accuracy=["0.67"])
    assert (found.verdict, found.gain) == ("consistent", ())
    assert finding(found, "counts").numbers["unique"]["columns"][0]["true_positive"] == (2, 6)


def test_a_figure_that_lost_its_last_zero_is_read_with_the_digits_of_the_others() -> None:
    content = one_model(columns={"ours": {"recall": [0.5, 0.75], "accuracy": 0.7}})
    assert finding(audit_claims(content), "accuracy", "ours").verdict == "consistent", "2 of 3 is 0.7"
    assert finding(audit_claims(content, decimals=2), "accuracy", "ours").verdict == "impossible"


def test_percent() -> None:
    column = {"precision": ["50.0", "75.0"], "recall": ["50.0", "75.0"], "f1": ["50.0", "75.0"]}
    content = one_model(columns={"ours": column})
    with pytest.raises(InputError, match=r"got 50.0, which looks like percent; say --percent"):
        audit_claims(content)
    with pytest.raises(
        InputError, match="recall of ours, class 1 must be a share, got '0.5%'; say --percent"
    ):
        audit_claims(one_model(columns={"ours": {"recall": ["0.5%", "0.7%"]}}))
    found = audit_claims(content, percent=True, accuracy=["66.7%"])
    assert found.verdict == "consistent"
    assert finding(found, "accuracy", "ours").numbers["printed"] == pytest.approx(0.667)
    assert audit_claims(content, percent=True, accuracy=["66.5"]).verdict == "impossible"


def test_cosines_beside_a_table() -> None:
    found = audit_claims(one_model(mean_cosine=-1, cosine_matrix=[[1, -0.3], [-0.3, 1]]))
    assert found.verdict == "consistent"
    assert finding(found, "cosine matrix").numbers["smallest_eigenvalue"] == pytest.approx(0.7)
    three = {key: ["0.5"] * 3 for key in ("precision", "recall", "f1")}
    content = {"classes": ["a", "b", "c"], "columns": {"m": three}, "mean_cosine": -0.61}
    assert finding(audit_claims(content), "mean cosine").verdict == "impossible"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"colums": {}}, r"key of a table must be a known name, got 'colums'; did you mean 'columns'"),
        ({"classes": []}, "must have a list classes and a mapping columns"),
        ({"columns": {"m": {"recal": ["0.5", "0.5"]}}}, r"got 'recal'; did you mean 'recall'"),
        ({"columns": {"m": ["0.5", "0.5"]}}, "column 'm' must be a mapping"),
        ({"columns": {"m": {"recall": "0.5"}}}, "recall of m must be a list, got '0.5'"),
        (
            {"columns": {"m": {"recall": ["0.5"]}}},
            "recall of m must have one value for each of 2 classes, got 1",
        ),
        (
            {"columns": {"m": {"recall": ["0.5", "1.02"]}}},
            "recall of b in m must be a share from 0 to 1, got 1.02",
        ),
        ({"columns": {"m": {"recall": ["0.5", "-0.1"]}}}, "must be a share from 0 to 1, got -0.1"),
        (
            {"columns": {"m": {"recall": ["0.5", "high"]}}},
            "recall of m, class 2 must be a number, got 'high'",
        ),
        ({"columns": {"m": {"recall": ["0.5", True]}}}, "must be a number, got 'True'"),
        ({"columns": {"m": {"recall": ["0.5", float("nan")]}}}, "must be a share from 0 to 1, got NaN"),
        ({"columns": {"m": {"recall": ["0.5", "1e-999999"]}}, "decimals": 3}, "at most 3 decimals"),
        ({"supports": [4, 8.5]}, "supports, class 2 must be a whole number, got '8.5'"),
        ({"supports": [4, None]}, "supports must be given for every class or for none"),
        ({"test_images": "many"}, "test_images must be a whole number, got 'many'"),
        ({"profile": "exponential"}, "profile must come with training_counts"),
        ({"profile": "linear", "training_counts": [9, 1]}, "profile must be a known name, got 'linear'"),
        ({"cosine_matrix": [[1, "x"], [0, 1]]}, "cosines must be numbers"),
        ({"mean_cosine": [1]}, "cosines must be numbers"),
    ],
)
def test_wrong_content_is_named(changed: Mapping[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        audit_claims(one_model(**changed))


def test_accuracy_for_another_number_of_columns_is_refused() -> None:
    with pytest.raises(InputError, match=r"for each of 1 columns \(ours\), got 2"):
        audit_claims(one_model(), accuracy=["0.5", "0.6"])


def test_a_contradiction_stands_before_what_fits() -> None:
    column = {"precision": [0.90, 0.67], "recall": [0.95, 0.50], "f1": [0.93, 0.77]}
    found = audit_claims({"classes": ["intact", "broken"], "supports": [20, 4], "columns": {"old": column}})
    assert [one.verdict for one in found.table][:2] == ["consistent", "impossible"]
    lines = str(found).splitlines()
    assert lines[2] == "Can it be true? impossible"
    assert lines[3].startswith("impossible: old, F1: 2PR / (P + R) does not give F1 0.77 of broken")
    assert lines[4].startswith("consistent: counts: Whole numbers print as this table (without F1 and means,")
    assert sorted(lines[3:]) == sorted(map(str, found.table))
