"""Give the claims of every record in ``results/`` the verdicts that today's rule comes to from its figures.

    python benchmarks/judge_again.py            # says what changes, and writes it
    python benchmarks/judge_again.py --check    # writes nothing; 1 where a verdict or chart does not follow

Figures are never touched, nor what a claim says. A record whose verdicts change notes when: ``judged_again``.
A chart that differs from what today's code draws of the figures beside it is drawn again.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tailgrad.evidence import Claim, Figure, judge
from tailgrad.evidence.chart import chart
from tailgrad.evidence.publish import committed
from tailgrad.evidence.record import claim_record
from tailgrad.files import write_json, write_text
from tailgrad.recipes.run_folder import read_json

PLACE = Path(__file__).parents[1] / "results"


def main(arguments: Sequence[str] | None = None, place: Path = PLACE) -> int:
    """Judge all records of a folder; 1 where --check finds one that does not follow."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="write nothing")
    only_check = parser.parse_args(arguments).check
    found = 0
    for path in sorted(place.glob("*/evidence.json")):
        content = read_json(path)
        again = judged_again(content)
        lines = list(differences(content, again))
        stale = _stale(path.with_name("chart.svg"), chart(again))
        found += bool(lines) or stale
        for line in [*lines, *["chart.svg is not drawn from these figures"] * stale]:
            print(f"{path.parent.name}: {line}")
        if lines and not only_check:
            again["judged_again"] = datetime.now(UTC).date().isoformat()
            write_json(path, committed(again) | {"left_out": content.get("left_out", [])})
        if stale and not only_check:
            write_text(path.with_name("chart.svg"), chart(again))
    return int(only_check and found > 0)


def judged_again(content: Mapping[str, Any]) -> dict[str, Any]:
    """The record with the verdicts of today's rule; a claim keeps its own words."""
    records = content["claims"]
    claims = [
        Claim(**{key: record[key] for key in Claim.model_fields if record.get(key) is not None})
        for record in records
    ]
    figures = {record["id"]: Figure.from_dict(record["found"]) for record in records if record.get("found")}
    verdicts = judge(claims, figures)
    new = [
        {**record, **_judgement(claim_record(claim, verdicts[claim.id], figures.get(claim.id)))}
        for record, claim in zip(records, claims, strict=True)
    ]
    return {**content, "claims": new}


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    """Claims whose verdict changed, in words."""
    for old, new in zip(before["claims"], after["claims"], strict=True):
        if old["verdict"] != new["verdict"]:
            yield f"{old['id']}: {old['verdict']} -> {new['verdict']} ({new['why']})"


def _stale(path: Path, drawn: str) -> bool:
    return not path.exists() or path.read_text(encoding="utf-8") != drawn


def _judgement(record: Mapping[str, Any]) -> dict[str, Any]:
    return {key: record[key] for key in ("verdict", "why", "p_holm")}


if __name__ == "__main__":
    sys.exit(main())
