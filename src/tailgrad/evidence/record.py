"""A study as one JSON object: what was claimed, what was found, and all that it rests on."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tailgrad.evidence.claim import UNKNOWN, Claim, Verdict
from tailgrad.evidence.figures import Figure
from tailgrad.evidence.group_runs import group_runs
from tailgrad.evidence.provenance import plain_command
from tailgrad.interference import Interference
from tailgrad.interference.label_conflict import LabelConflict
from tailgrad.interference.storage import kind_of
from tailgrad.recipes.run_folder import read_json
from tailgrad.untrusted import of_shape, parse_yaml, yaml_text

_KEPT = (
    "method",
    "seed",
    "split_seed",
    "epochs",
    "best_epoch",
    "train_images",
    "parameters",
    "classes",
    "test",
    "tuned",
    "focus",
    "label_gradients",
)


def group_record(folder: Path) -> dict[str, Any]:
    """One group of runs: its comparison, every run's figures, splits, configuration and environment.

    Nothing of the images is in it.

    Args:
        folder: of a finished comparison.

    Raises:
        InputError: a file of it is missing or damaged.

    Example: see ``study``.
    """
    with of_shape(folder, "repeat the study with --resume"):
        about = parse_yaml(yaml_text(folder / "study.yaml"))
        about["source"] = Path(str(about["source"])).name
        environment = about.pop("environment")
        environment["command"] = plain_command(shlex.split(str(environment["command"])))
        finished = group_runs(folder)
        runs, results = [run.path for run, _ in finished], [result for _, result in finished]
        splits = {str(read_json(run / "split.json")["sha256"]) for run in runs}
        return {
            "study": about,
            "comparison": read_json(folder / "comparison.json"),
            "runs": [{key: run.get(key) for key in _KEPT} for run in results],
            "interference": [_conflict(run) for run in runs],
            "configuration": _configuration(runs[0]),
            "split_sha256": sorted(splits),
            "environment": environment,
        }


def _configuration(run: Path) -> dict[str, Any]:
    """Of the first run; the others differ in what ``study.yaml`` calls differences, and seeds."""
    content = dict(parse_yaml(yaml_text(run / "config.yaml")))
    content["source"] = Path(str(content["source"])).name
    if content["data"].get("root"):
        content["data"]["root"] = Path(content["data"]["root"]).name
    return content


def _conflict(run: Path) -> dict[str, Any]:
    stages = {}
    for path in sorted((run / "interference").glob("*.json")):
        labels = kind_of(path) == LabelConflict.__name__
        found: Any = (LabelConflict if labels else Interference).load(path)
        stages[path.stem] = {
            "mean": found.mean,
            "mean_null": found.mean_null,
            "mean_excess": found.mean_excess,
        }
    return {"run": run.name, "group": "backbone", "stages": stages}


def claim_record(claim: Claim, verdict: Verdict, figure: Figure | None) -> dict[str, Any]:
    """A claim with what was found.

    Example:
        >>> claim = Claim(id="a", text="a helps", source="ours", figure="a", above=0)
        >>> claim_record(claim, Verdict("cannot be told", "not measured yet"), None)["verdict"]
        'cannot be told'
    """
    return {
        **claim.model_dump(exclude_none=True, exclude_defaults=True),
        **({} if claim.group is None else {"metric": claim.metric}),
        "found": None if figure is None else figure.to_dict(),
        "verdict": verdict.word,
        "why": verdict.why,
        "p_holm": verdict.p,
    }


def planned_record(claim: Claim) -> dict[str, Any]:
    """A claim before anything is measured, as a record holds it.

    Example:
        >>> planned_record(Claim(id="a", text="a helps", source="ours", figure="a", above=0))["why"]
        'not measured yet'
    """
    return claim_record(claim, Verdict(UNKNOWN, "not measured yet"), None)


def seeds_of(groups: Mapping[str, Mapping[str, Any]], own: Any = ()) -> list[int]:
    """Every seed that was used.

    Example:
        >>> seeds_of({"a": {"runs": [{"seed": 1}, {"seed": 0}]}}, [2])
        [0, 1, 2]
    """
    return sorted({int(run["seed"]) for group in groups.values() for run in group.get("runs", ())} | set(own))
