"""The studies that come with the package: they compose, they claim what was printed, and small ones run."""

from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from tailgrad.data import open_source
from tailgrad.evidence import Claim, StudyFile, read_study, studies, study
from tailgrad.evidence.check_plan import check_analysis, check_claims
from tailgrad.evidence.table_file import read_table
from tailgrad.recipes.assemble import head_name
from tailgrad.recipes.combinations import check_combine
from tailgrad.recipes.compare import regime_only
from tailgrad.recipes.components import check_names, check_options
from tailgrad.recipes.compose import compose
from tailgrad.recipes.config import Config
from tailgrad.recipes.stepping import check_together

pytestmark = pytest.mark.long

TRAINED = (
    "csba-pv",
    "csba-infrared",
    "csba-cifar10-lt",
    "csba-controls",
    "gala-cifar100-lt",
    "simplifying",
    "long-tail-table",
    "remedy",
)
CLASSES = {
    "csba-pv": "Bird-drop Clean Dusty Electrical-damage Physical-Damage Snow-Covered",
    "csba-infrared": "No-Anomaly Cell Vegetation Diode Cell-Multi Shadowing Cracking Offline-Module Hot-Spot "
    "Hot-Spot-Multi Soiling Diode-Multi",
    "csba-cifar10-lt": "airplane automobile bird cat deer dog frog horse ship truck",
}
# Released top-1 of GALA, without and with re-balancing, by imbalance factor.
GALA = {200: (48.0, 48.5), 100: (52.1, 52.3), 50: (56.0, 56.5), 10: (63.8, 64.2)}
# CIFAR-10-LT and CIFAR-100-LT at imbalance factor 100, plain schedule.
PLAIN = {
    "ce": (70.36, 38.32),
    "focal-plain": (71.56, 37.22),
    "class_balanced": (70.48, 38.97),
    "ldam_drw": (77.73, 42.47),
    "balanced_softmax": (77.54, 42.99),
    "logit_adjustment": (78.57, 44.02),
    "mixup": (74.06, 40.82),
    "crt": (74.99, 40.26),
    "tau_norm": (72.70, 40.96),
}
WIDE = {
    "ce": (84.9, 47.7),
    "simplifying": (86.0, 48.9),
    "focal-plain": (None, 47.1),
    "ldam_drw": (None, 47.2),
}


def _configs(plan: StudyFile) -> Iterator[tuple[str, Config]]:
    """What every group would train, without its data."""
    for name, group in plan.expanded().items():
        above = regime_only(group.overrides())
        for method in group.overlays().values():
            yield name, compose("somewhere", group.regime or "quick", method, above)


def _claims(name: str) -> dict[str, Claim]:
    return {claim.id: claim for claim in read_study(name).claims}


@pytest.mark.parametrize("name", sorted(studies()))
def test_every_size_composes(name: str) -> None:
    whole = read_study(name)
    check_claims(whole)
    assert whole.question.endswith("?")
    assert "smoke" in whole.sizes
    for size in ("full", *whole.sizes):
        plan = whole.at(size)
        if plan.analysis is not None:
            check_analysis(plan.analysis)
        for _, config in _configs(plan):
            check_names(config)
            check_options("heads", head_name(config), config.head.options, skip=2)
            check_combine(config.combine)
            check_together(config)


@pytest.mark.parametrize("name", TRAINED)
def test_a_slot_that_is_not_filled_says_what_it_wants(name: str) -> None:
    plan = read_study(name)
    assert set(plan.needs) == {slot for slot, source in plan.data.items() if source is None}
    assert plan.notes
    smoke = plan.at("smoke")
    used = {group.data for group in smoke.expanded().values()}
    assert {smoke.data[slot] for slot in used} == {"digits-lt"}


@pytest.mark.parametrize("name", TRAINED)
def test_claims_quote_a_source_and_judge_what_was_printed(name: str) -> None:
    for claim in read_study(name).claims:
        assert claim.source
        if claim.near is not None:
            assert claim.printed == claim.near, claim.id
        elif claim.printed is not None and claim.threshold == 0:
            assert (claim.printed > 0) == (claim.above is not None), claim.id


@pytest.mark.parametrize("name", CLASSES)
def test_claims_about_classes_name_those_of_the_data(name: str) -> None:
    wanted = {claim.metric.partition(" of ")[2] for claim in read_study(name).claims} - {""}
    assert wanted
    assert wanted <= set(CLASSES[name].split())


@pytest.mark.parametrize(
    ("name", "group"), [("csba-pv", "grouped"), ("csba-cifar10-lt", "printed")], ids=["pv", "cifar10"]
)
def test_levels_and_gains_of_classes_are_those_of_the_printed_table(name: str, group: str) -> None:
    table = read_table(name)
    claims, own = _claims(name), CLASSES[name].split()
    for method, column in table["columns"].items():
        for kind in ("precision", "recall", "f1"):
            for printed_name, own_name, value in zip(table["classes"], own, column[kind], strict=True):
                claim = claims[f"{method}-{kind}-{printed_name}"]
                assert (claim.group, claim.method, claim.metric) == (group, method, f"{kind} of {own_name}")
                assert claim.near == value
    kind = "f1" if name == "csba-pv" else "recall"
    before, after = (table["columns"][method][kind] for method in ("baseline", "csba"))
    for printed_name, x, y in zip(table["classes"], before, after, strict=True):
        assert claims[f"{kind}-{printed_name}"].printed == pytest.approx(y - x, abs=1e-9)


def test_no_gain_printed_for_other_images_or_another_network_refutes_a_smaller_one() -> None:
    for name, groups in (
        ("csba-infrared", {"enlarged", "paper", "small"}),
        ("csba-cifar10-lt", {"resnet32"}),
    ):
        gains = [claim for claim in read_study(name).claims if claim.group in groups and claim.near is None]
        assert gains
        assert [claim.id for claim in gains if claim.printed is not None] == []


def test_plain_cross_entropy_is_held_against_the_mean_recall_that_accuracy_must_be() -> None:
    claim, columns = _claims("csba-cifar10-lt")["plain-resnet32"], read_table("csba-cifar10-lt")["columns"]
    recalls = [sum(column["recall"]) / 10 for column in columns.values()]
    assert claim.above == pytest.approx(max(recalls), abs=1e-4)
    assert max(column["accuracy"] for column in columns.values()) > max(recalls), (
        "the printed accuracy is above"
    )
    assert "mean recall" in " ".join(claim.text.split())


def test_table_9_and_the_sizes_are_those_of_the_paper() -> None:
    claims = _claims("csba-pv")
    table_9 = {"focal": (0.320, 0.812), "class_heads": (0.480, 0.865)}
    for method, printed in table_9.items():
        found = tuple(claims[f"{method}-f1-{name}"].near for name in ("Phys-Damage", "Elec-Damage"))
        assert found == printed
    sizes = {m: claims[f"parameters-{m}"].near for m in ("baseline", "csba", "focal", "branch_softmax")}
    assert sizes == {"baseline": 1.35e6, "csba": 1.79e6, "focal": 1.35e6, "branch_softmax": 1.37e6}
    assert claims["parameters-class_heads"].near == 7.5e6
    columns = ("38 52 41", "29 48 37", "61 24 31", "57 19 28", "31 41 55", "22 35 49")
    norms = [[int(norm) for norm in column.split()] for column in columns]
    mean = sum(max(column) / sum(column) for column in norms) / len(norms)
    assert claims["branch-share"].printed == pytest.approx(mean, abs=1e-4)


def test_cifar10_is_run_as_small_as_it_is_and_resized_for_the_network_as_the_paper_says() -> None:
    groups = read_study("csba-cifar10-lt").expanded()
    (printed, *_), (resized, *_) = (_of(groups[name]) for name in ("printed", "resized"))
    assert (printed.data.size, resized.data.size) == ("auto", resized.data.fallback_size)
    assert resized.data.fallback_size == 224
    assert groups["resized"].methods == groups["printed"].methods
    assert resized.data.model_copy(update={"size": "auto"}) == printed.data
    claims = _claims("csba-cifar10-lt")
    for what in ("baseline-mean-recall", "csba-mean-recall"):
        assert claims[f"resized-{what}"].near == claims[what].near
    assert claims["resized-macro-f1-gain"].printed == claims["macro-f1-gain"].printed


def test_the_pairs_of_table_11_are_followed() -> None:
    plan, names = read_study("csba-cifar10-lt"), CLASSES["csba-cifar10-lt"].split()
    printed = ("Airplane-Truck", "Airplane-Ship", "Automobile-Truck", "Bird-Horse")
    pairs = [tuple(pair) for pair in plan.settings["pairs"]]
    assert pairs == [tuple(pair.lower().split("-")) for pair in printed]
    assert {name for pair in pairs for name in pair} <= set(names)
    claim = _claims("csba-cifar10-lt")["named-pairs"]
    assert (claim.figure, claim.above) == ("printed.csba.named.conflict", 0)


def test_gala_is_held_to_its_released_figures() -> None:
    claims = _claims("gala-cifar100-lt")
    for factor, (plain, rebalanced) in GALA.items():
        assert claims[f"if{factor}"].near == pytest.approx(plain / 100)
        assert claims[f"if{factor}-rebalanced"].near == pytest.approx(rebalanced / 100)
        assert claims[f"if{factor}-rebalancing-gain"].printed == pytest.approx((rebalanced - plain) / 100)


@pytest.mark.parametrize("factor", GALA)
def test_every_reading_of_gala_runs_at_every_imbalance(factor: int) -> None:
    """With both lambdas 1 the two margins are one loss, so that 6 of the 8 readings are different."""
    group = read_study("gala-cifar100-lt").expanded()[f"if{factor}"]
    assert group.set["data"]["imb_factor"] == factor
    options = [config.loss.options for config in _of(group) if config.loss.name == "gala"]
    released = [given for given in options if given.get("scale_free") is False and given["start"] == 0]
    keys = {"margin": "implemented", "accumulation": "double", "lambda1": 1.0, "lambda2": 1.0}
    found = {tuple((keys | given)[key] for key in keys) for given in released}
    wanted = {
        ("implemented" if lambdas == (1, 1) else margin, accumulation, *lambdas)
        for margin in ("implemented", "printed")
        for accumulation in ("double", "sum")
        for lambdas in ((1, 1), (1.2, 0.9))
    }
    assert len(wanted) == 6
    assert found == wanted


@pytest.mark.parametrize(
    ("study_name", "ids", "printed"),
    [
        ("long-tail-table", ("cifar10-{}", "cifar100-{}"), PLAIN),
        ("simplifying", ("wrn-cifar10-{}", "wrn-cifar100-{}"), WIDE),
    ],
)
def test_levels_of_methods_are_the_published_ones(
    study_name: str, ids: tuple[str, str], printed: Mapping[str, Any]
) -> None:
    claims = _claims(study_name)
    for method, values in printed.items():
        for pattern, value in zip(ids, values, strict=True):
            if value is not None:
                claim = claims[pattern.format(method)]
                assert claim.near == pytest.approx(value / 100)
                assert (claim.method, claim.metric) == (method, "accuracy")


@pytest.mark.parametrize("name", ["csba-pv", "csba-infrared", "csba-controls", "remedy"])
def test_the_cpu_edition_is_short(name: str) -> None:
    for _, config in _configs(read_study(name).at("cpu")):
        assert config.train.epochs <= 40
        assert config.train.patience == 8 or config.train.patience == config.train.epochs < 40


def test_the_cpu_editions_are_what_was_asked_for() -> None:
    pv = read_study("csba-pv").at("cpu").expanded()
    runs = {method: group.seeds for group in pv.values() for method in group.overlays()}
    assert runs == {"baseline": 10, "csba": 10, "focal": 5, "branch_softmax": 5, "class_heads": 2}
    infrared = read_study("csba-controls").at("cpu").expanded()["infrared"]
    assert infrared.seeds == 5
    assert {"baseline", "csba", "csba_shared_gate", "csba_frozen_gates", "wider_head"} == set(
        infrared.methods
    )


def test_batches_of_every_size_take_the_same_number_of_steps() -> None:
    group = read_study("simplifying").expanded()["cifar10"]
    configs = dict(zip(group.overlays(), _of(group), strict=True))
    plain = configs["plain"]
    for name in ("batch-32", "batch-64", "batch-256", "batch-512"):
        other = configs[name]
        factor = other.train.batch_size / plain.train.batch_size
        assert other.train.epochs == factor * plain.train.epochs
        assert other.optim.lr == pytest.approx(factor * plain.optim.lr)


def _of(group: Any) -> list[Config]:
    above = regime_only(group.overrides())
    return [compose("somewhere", group.regime, method, above) for method in group.overlays().values()]


def test_the_balances_of_one_network_have_as_many_images() -> None:
    groups = read_study("simplifying").expanded()
    counts = {name: groups[name].set["data"]["counts"] for name in ("if1", "if10", "if100")}
    assert {sum(found) for found in counts.values()} <= set(range(4999, 5002))
    assert [round(max(c) / min(c)) for c in counts.values()] == [1, 10, 101]


def test_a_queued_command_names_studies_sizes_and_groups_that_are_there() -> None:
    queue = Path(__file__).parents[2] / "results" / "QUEUE.md"
    lines = [line for line in queue.read_text().split("`") if line.startswith("tailgrad reproduce ")]
    assert lines
    for line in lines:
        words = line.split()
        plan = read_study(words[2])
        options = dict(pairwise(words))
        size = plan.at(options.get("--size", "full"))
        only = options.get("--only")
        assert only is None or set(only.split(",")) <= set(size.expanded()), line
        given = {word.partition("=")[0] for flag, word in pairwise(words) if flag == "--data"}
        assert given <= set(size.data), line


def test_study_files_are_one_mapping_without_a_name_of_their_own() -> None:
    for name, path in studies().items():
        content = yaml.safe_load(path.read_text())
        assert content.get("name", name) == name


def test_the_long_tail_table_runs_on_digits(tmp_path: Path) -> None:
    found = study("long-tail-table", size="smoke", out=tmp_path / "study")
    assert found.content["finished"] == ["cifar10-plain", "cifar10-strong"]
    claims = {claim["id"]: claim for claim in found.content["claims"]}
    runs = {
        (group, run["method"]): run
        for group, record in found.content["groups"].items()
        for run in record["runs"]
    }
    tuned = [runs["cifar10-plain", m]["tuned"]["accuracy"] for m in ("balanced_softmax", "ce")]
    assert claims["gain"]["found"]["value"] == pytest.approx(tuned[0] - tuned[1])
    both = [
        runs[g, "balanced_softmax"]["test"]["accuracy"]["value"] for g in ("cifar10-strong", "cifar10-plain")
    ]
    assert claims["schedule"]["found"]["value"] == pytest.approx(both[0] - both[1])


def test_slots_of_groups_left_out_are_not_waited_for(tmp_path: Path) -> None:
    """The analysis of a size runs although data that only other sizes use are not given."""
    runs = {"methods": ["ce"], "set": {"model": {"name": "resnet8"}}}
    small: dict[str, Any] = {
        "seeds": 1,
        "set": {
            "data": {"near_duplicates": False, "imb_factor": 20},
            "train": {"epochs": 1, "precision": "float32", "channels_last": False},
            "interference": {"enabled": False},
        },
        "groups": {"elsewhere": None},
    }
    plan = StudyFile.model_validate(
        {
            "name": "mine",
            "data": {"here": "digits-lt", "there": None},
            "groups": {"first": {"data": "here", **runs}, "elsewhere": {"data": "there", **runs}},
            "sizes": {"small": small},
            "analysis": "csba_tables",
            "settings": {"reference": {"group": "first", "method": "ce"}},
        }
    )
    found = study(plan, size="small", out=tmp_path / "study")
    assert found.content["figures"]["first.ce.parameters"]["value"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in TRAINED if name not in {"csba-pv", "long-tail-table"}])
def test_the_smallest_size_runs_on_digits(name: str, tmp_path: Path) -> None:
    found = study(name, size="smoke", out=tmp_path / "study")
    assert not found.content["missing"]
    assert all("found" in claim and claim["found"] for claim in found.content["claims"])
    assert found.content["tables"]
    assert open_source("digits-lt").name == next(iter(found.content["groups"].values()))["study"]["source"]
