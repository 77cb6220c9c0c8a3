"""What a method made of the class prior, and what tuned thresholds give, as blocks of a report."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tailgrad.report.blocks import Block, Table, Text
from tailgrad.report.tables import folded_if_long
from tailgrad.report.wording import metric_name, number, short

MEANING = (
    "Samplers, class weights and shifts of the logits, in training and after it, all move one prior. What"
    " they come to together is the prior that the classifier acts on: the more equal it is, the less the"
    " classifier prefers frequent classes. Rare classes above frequent ones are one correction too many."
)
TUNED = (
    "One threshold a class, tuned for macro-F1 on validation images (for mean recall where the test images"
    " are even over the classes and those are not). If two methods differ as trained and not with tuned"
    " thresholds, what one of them does is what tuning does too."
)


def prior_blocks(result: Mapping[str, Any]) -> tuple[Block, ...]:
    """The ledger's arithmetic as a table by class, and the figures with tuned thresholds.

    Args:
        result: of a run; nothing is shown of what an older one does not hold.

    Example:
        >>> prior_blocks({})
        ()
    """
    blocks: list[Block] = []
    ledger = result.get("prior")
    if ledger and ledger["components"]:
        blocks += [Text(MEANING), _components(ledger), folded_if_long(_classes(ledger))]
    if tuned := result.get("tuned"):
        rows = tuple(
            (metric_name(name), number(_plain(result, name)), number(value)) for name, value in tuned.items()
        )
        blocks += [Text(TUNED), Table("With tuned thresholds", ("figure", "as trained", "tuned"), rows)]
    if stages := result.get("stages"):
        rows = tuple(
            (stage["stage"], number(stage["val_macro_f1"]), _chosen(stage["chosen"])) for stage in stages
        )
        blocks.append(Table("Later stages", ("stage", "validation macro-F1", "chosen"), rows))
    return tuple(blocks)


def method_blocks(results: Mapping[str, Sequence[Mapping[str, Any]]]) -> tuple[Block, ...]:
    """One row a method: what corrects the prior, what is left of the imbalance, macro-F1 as is and tuned.

    Args:
        results: results of each method's runs in seed order; the ledger shown is the first seed's.

    Example:
        >>> method_blocks({"ce": [{}]})
        ()
    """
    header = ("method", "corrects", "imbalance left", "macro-F1", "with tuned thresholds", "further epochs")
    known = {name: runs for name, runs in results.items() if runs and runs[0].get("prior")}
    rows = tuple((name, *_of_method(runs)) for name, runs in known.items())
    return (Text(MEANING), Text(TUNED), Table("By method", header, rows)) if rows else ()


def _of_method(runs: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    ledger = runs[0]["prior"]
    means = [
        sum(values) / len(values)
        for values in (
            [run["test"]["macro_f1"]["value"] for run in runs],
            [run["tuned"]["macro_f1"] for run in runs],
        )
    ]
    further = sum(int(stage.get("epochs", 0)) for stage in runs[0].get("stages", ()))
    return (
        ", ".join(one["name"] for one in ledger["components"]) or "nothing",
        f"{_left(ledger):.2f}",
        *map(number, means),
        str(further),
    )


def _left(ledger: Mapping[str, Any]) -> float:
    """Share of the log imbalance between the most frequent and the rarest class that is left."""
    seen = [(n, prior) for n, prior in zip(ledger["class_counts"], ledger["prior"], strict=True) if n]
    (most, before), (least, after) = max(seen), min(seen)
    return math.log(before / after) / math.log(most / least) + 0.0 if most > least else 0.0


def _components(ledger: Mapping[str, Any]) -> Table:
    counts = ledger["class_counts"]
    seen = [k for k, n in enumerate(counts) if n]
    most, least = max(seen, key=lambda k: counts[k]), min(seen, key=lambda k: counts[k])
    rows = []
    for one in ledger["components"]:
        times = math.exp(one["lift"][least] - one["lift"][most])
        rows.append((one["name"], one["kind"].replace("_", " "), f"{times:.4g} times"))
    names = ledger["class_names"]
    caption = f"What lifts {short(names[least], 30)}, the rarest class, over {short(names[most], 30)}"
    return Table(caption, ("component", "kind", "lift"), tuple(rows))


def _classes(ledger: Mapping[str, Any]) -> Table:
    counts = ledger["class_counts"]
    columns = ("class_counts", "sampled_prior", "weights", "train_shift", "test_shift", "prior")
    rows = tuple(
        (ledger["class_names"][k], *(_short(ledger[column][k]) for column in columns))
        for k in sorted(range(len(counts)), key=lambda k: -counts[k])
    )
    header = (
        "class",
        "training images",
        "sampled",
        "weight",
        "shift in training",
        "shift after",
        "prior left",
    )
    return Table("The prior by class", header, rows)


def _short(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value + 0.0:.3g}"


def _plain(result: Mapping[str, Any], name: str) -> float | None:
    test = result["test"]
    if name == "worst_f1":
        return min((row["f1"]["value"] for row in test["classes"] if row["support"]), default=None)
    value: float | None = test[name]["value"]
    return value


def _chosen(chosen: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in chosen.items()) or "nothing"
