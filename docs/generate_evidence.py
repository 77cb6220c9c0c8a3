"""The pages of evidence, from what is committed in ``results/``: called by ``docs/generate.py``."""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tailgrad.evidence import StudyFile, read_study, studies
from tailgrad.evidence.claim import CONFIRMED, KINDS, NOT_CONFIRMED, kind_of
from tailgrad.evidence.figures import rounded
from tailgrad.evidence.front import VERDICTS, front, in_words, ranked
from tailgrad.evidence.present_words import with_present_words
from tailgrad.recipes.table import dropped_note, metric_title

Content = Mapping[str, Any]
INTRODUCTION = """\
What was published, what is measured here, and what follows. Every claim has one of three verdicts:

- **confirmed**: the figure lies on the claimed side with p < 0.05, two-sided, after Holm's correction over
  the claims of its study that answer the same question (its family). For "about as good": the whole 95 %
  interval lies within the tolerance.
- **not confirmed**: it lies on the other side by the same standard, or it falls short of what was printed by
  the same standard (over the printed figures of the family) without lying on the claimed side. For "about as
  good": all of the interval lies outside the tolerance.
- **cannot be told**: anything else. Most often there are too few seeds for an effect of that size.

Figures are means over seeds, or over splits where the data bring no test set, whose intervals then take the
Nadeau-Bengio variance; n is their number. Intervals are not corrected for the number of claims, nor is "about
as good", which goes by them; all other verdicts are: where a claim cannot be told although its interval lies
on one side, the p value says why. Methods go by the names of the catalogue.

A verdict is on the claim as it was measured here, so far with small networks, mostly on handwritten digits
and other small sets: it says nothing of a paper's own data and networks. What a paper printed stands in the
column "printed"."""
OF_KINDS = {
    "published": "published by others",
    "ours": "of our own or of the field",
    "exploratory": "of our own, written after a look at the runs that decide them",
    "check": "checks",
}
KINDS_EXPLAINED = """\
A check follows from a formula or from the design, or repeats another claim: it says that the measuring works,
and is no finding. The tables of the studies say which claim is which."""
DECIDED = """\
Every claim with a verdict but the checks, what is not confirmed first. What cannot be told stands on the
pages of the studies, with the runs and settings behind every line."""
EXPLORATORY = "exploratory"
EXPLAINED = """\
Exploratory: the claims or their settings were changed after a look at trial seeds, which are left out of the
figures; the notes say what. Such claims are confirmed for these data only, and wait for others."""


@dataclass(frozen=True)
class Page:
    """Where results lie, how a table is written, and whether all stands on one page, with pictures."""

    results: Path
    table: Callable[[Sequence[str], Sequence[Sequence[str]]], str]
    whole: bool

    def parts(self) -> Iterator[str]:
        """The page, part by part."""
        records = _records(self.results)
        main = _main(records)
        yield "# Evidence"
        yield INTRODUCTION
        yield "## First of all"
        yield from front(list(records.values()))
        yield from self._summary(main, records)
        yield from self._decided(main)
        yield from self._waiting(main)
        for name, content in records.items() if self.whole else ():
            yield f"## {_title(content)}"
            yield from self._study(name, content)
        yield from self._earlier()

    def studies(self) -> dict[str, list[str]]:
        """A page of its own for every record: file name and parts."""
        return {
            _file(content): [
                f"# {_title(content)}",
                "Part of the [evidence](../evidence.md), which says what the verdicts mean.",
                *self._study(name, content),
            ]
            for name, content in _records(self.results).items()
        }

    def _link(self, content: Content, shown: str) -> str:
        target = f"#{content['study']}-size-{content['size']}" if self.whole else f"evidence/{_file(content)}"
        return f"[{shown}]({target})"

    def _summary(self, main: Mapping[str, Content], records: Mapping[str, Content]) -> Iterator[str]:
        yield "## All studies"
        counts = {study: Counter(_judged(content)) for study, content in main.items()}
        total: Counter[str] = sum(counts.values(), Counter())
        waiting = sum(len(content["claims"]) for content in main.values()) - total.total()
        also = f" Waiting for runs in the same studies: {waiting}." if waiting else ""
        yield f"Of {_claims(total.total())} measured, {in_words(total)}.{also}"
        yield from _by_kind(main)
        rows = [
            [
                self._link(main[study], study),
                _edition(main[study]),
                main[study]["question"],
                *(str(found[v]) for v in VERDICTS),
                str(len(main[study]["claims"]) - found.total() or ""),
            ]
            for study, found in counts.items()
        ]
        if rows:
            yield self.table(("study", "size", "question", *VERDICTS, "not measured"), rows)
        if any(EXPLORATORY in row[1] for row in rows):
            yield EXPLAINED
        more = [content for content in records.values() if all(content is not one for one in main.values())]
        if more:
            links = ", ".join(self._link(content, _title(content)) for content in more)
            yield f"Run as well, in other sizes, and not counted above: {links}."

    def _decided(self, main: Mapping[str, Content]) -> Iterator[str]:
        """Every claim that could be told, what was refuted first; checks are no findings."""
        rows = [
            [
                f"**{claim['verdict']}**",
                claim["text"],
                claim["source"],
                _measured(claim["found"]["value"], claim["found"]),
                str(len(claim["found"]["values"]) or ""),
                self._link(content, study),
            ]
            for verdict in (NOT_CONFIRMED, CONFIRMED)
            for study, content in main.items()
            for claim in content["claims"]
            if claim["verdict"] == verdict and claim["found"] is not None and kind_of(claim) != "check"
        ]
        if rows:
            yield "## What could be told"
            yield DECIDED
            yield self.table(("verdict", "claim", "who says so", "measured", "n", "study"), rows)

    def _waiting(self, main: Mapping[str, Content]) -> Iterator[str]:
        waiting = [name for name in studies() if name not in main]
        if waiting:
            rows = [[f"`{name}`", read_study(name).question, f"`{_command(name)}`"] for name in waiting]
            yield "## Waiting to be run"
            yield self.table(("study", "question", "command"), rows)

    def _study(self, name: str, content: Content) -> Iterator[str]:
        yield content["question"] + (f" ({content['paper']})" if content["paper"] else "")
        if content["notes"]:
            yield f"*{' '.join(content['notes'].split())}*"
        yield from _unfinished(content)
        if content["claims"]:
            header = (
                "kind",
                "verdict",
                "claim",
                "who says so",
                "claimed",
                "printed",
                "measured",
                "n",
                "p after Holm",
            )
            in_order = sorted(content["claims"], key=lambda claim: KINDS.index(kind_of(claim)))
            yield self.table(header, [_claim(claim) for claim in in_order])
        if content.get("settings"):
            yield f"Settings of the analysis: `{_inline(content['settings'])}`."
        for group, record in content["groups"].items():
            yield from self._group(group, record)
        for table in content["tables"]:
            yield f"**{table['title']}.** {table['note']}".strip()
            yield self.table(table["header"], table["rows"])
        yield (
            f"![Chart of {name}]({name}/chart.svg)" if self.whole else f"Chart: `results/{name}/chart.svg`."
        )
        yield _origin(content)

    def _group(self, name: str, record: Content) -> Iterator[str]:
        comparison, about = record["comparison"], record["study"]
        metric = comparison["metric"]
        paired = {row["method"]: row for row in comparison["paired"] if row["metric"] == metric}
        rows = [row for row in comparison["rows"] if row["metric"] == metric]
        n, unit = rows[0]["n"], comparison.get("unit", "seed")
        yield (
            f"**{name}**: {about['source']}, regime {about['regime']}; {metric_title(metric)}, means over "
            f"{n} {unit}{'' if n == 1 else 's'}, differences to {rows[0]['method']}.{_settings(record)}"
        )
        header = ("method", metric_title(metric), "difference", "p after Holm", "verdict")
        yield self.table(header, [_method(row, paired.get(row["method"])) for row in rows])
        if note := dropped_note(comparison):
            yield note

    def _earlier(self) -> Iterator[str]:
        found = {path.parent.name: _read(path) for path in sorted(self.results.glob("*/comparison.json"))}
        if found:
            yield "## Single comparisons"
            yield "Made before there were studies; without claims."
            rows = [
                [f"`results/{name}`", c["what"], c["comparison"]["conclusion"], f"{c['commit']}, {c['date']}"]
                for name, c in found.items()
            ]
            yield self.table(("where", "what", "conclusion", "commit, date"), rows)


def _title(content: Content) -> str:
    return f"{content['study']}, size {content['size']}"


def _file(content: Content) -> str:
    return f"{content['study']}.{content['size']}.md"


def _read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def _records(results: Path) -> dict[str, Content]:
    """Every committed study by the name of its folder."""
    found = {path.parent.name: _read(path) for path in sorted(results.glob("*/evidence.json"))}
    return {name: with_present_words(content, _written(content)) for name, content in found.items()}


def _written(content: Content) -> StudyFile | None:
    """The study of a record as its file says now, if it is one of the package and has that size."""
    if content["study"] not in studies():
        return None
    study = read_study(content["study"])
    return study.at(content["size"]) if content["size"] in ("full", *study.sizes) else None


def _main(records: Mapping[str, Content]) -> dict[str, Content]:
    """One record a study: the full size, else the one with the most seeds."""
    return {study: contents[0] for study, contents in ranked(list(records.values())).items()}


def _edition(content: Content) -> str:
    changed = "exploratory" in content["notes"].casefold()
    return f"{content['size']}, {EXPLORATORY}" if changed else str(content["size"])


def _by_kind(main: Mapping[str, Content]) -> Iterator[str]:
    """The same counts for claims of each kind."""
    measured = [
        claim for content in main.values() for claim in content["claims"] if claim["found"] is not None
    ]
    lines = []
    for kind in KINDS:
        counts = Counter(claim["verdict"] for claim in measured if kind_of(claim) == kind)
        if counts:
            lines.append(f"- {OF_KINDS[kind]}: of {counts.total()}, {in_words(counts)}")
    if lines:
        yield "By who says so:"
        yield "\n".join(lines)
        yield KINDS_EXPLAINED


def _settings(record: Content) -> str:
    """What every run of a group had, and in what the methods differ; the first run stands for all."""
    found = record.get("configuration")
    if not found:
        return ""
    train, optim = found["train"], found["optim"]
    size = found["data"]["size"]
    side = " x ".join(map(str, size)) if isinstance(size, list) else f"{size} x {size}"
    told = [
        f"{found['model']['name']}{' pretrained' if found['model']['pretrained'] else ''}",
        "images at their usual size" if size == "auto" else f"images {side}",
        f"{train['epochs']} epochs of batches of {train['batch_size']}",
        f"{optim['name']} at {optim['lr']:g}, {found['schedule']['name']} schedule",
        f"augmentation {', '.join(train['augment']) or 'none'}",
    ]
    differ = ", ".join(f"`{key}`" for key in record["study"].get("differences", ()))
    return f" Network {'; '.join(told)}." + (f" The methods differ in {differ}." if differ else "")


def _inline(settings: Any) -> str:
    return str(yaml.safe_dump(settings, default_flow_style=True, sort_keys=False, width=10_000)).strip()


def _claims(count: int) -> str:
    return f"{count} claim{'' if count == 1 else 's'}"


def _command(name: str) -> str:
    study = read_study(name)
    slots = [slot for slot, source in study.data.items() if source is None]
    return " ".join(
        ["tailgrad reproduce", name, *(f"--data {slot}=SOURCE" for slot in slots), "--record results"]
    )


def _unfinished(content: Content) -> Iterator[str]:
    if content["missing"]:
        yield f"Groups not run yet: {', '.join(content['missing'])}."
    if content["failed"]:
        yield f"Groups that failed: {'; '.join(f'{name}: {why}' for name, why in content['failed'].items())}."
    if changed := content.get("changed_claims"):
        yield f"Claims changed or dropped after they had a figure: {', '.join(changed)}."
    known = {claim["id"] for claim in content["claims"]}
    written = _written(content)
    new = [claim.id for claim in (written.claims if written else ()) if claim.id not in known]
    if new:
        yield f"Claims that came to the study later and are not judged here: {', '.join(new)}."


def _judged(content: Content) -> Iterator[str]:
    """The verdicts of the claims that there is a figure for."""
    return (claim["verdict"] for claim in content["claims"] if claim["found"] is not None)


def _claim(claim: Content) -> list[str]:
    found = claim["found"]
    return [
        kind_of(claim),
        claim["verdict"] if found is not None else "not measured",
        claim["text"],
        claim["source"],
        _claimed(claim),
        _printed(claim.get("printed")),
        "not yet" if found is None else _measured(found["value"], found),
        str(len(found["values"]) or "") if found else "",
        _p(claim.get("p_holm")),
    ]


def _claimed(claim: Content) -> str:
    if claim.get("near") is not None:
        return f"{_printed(claim['near'])} within {_printed(claim['within'])}"
    side = "above" if claim.get("above") is not None else "below"
    return f"{side} {_printed(claim[side])}"


def _method(row: Content, difference: Content | None) -> list[str]:
    own = [row["method"], _measured(row["mean"], row)]
    if difference is None:
        return [*own, "", "", "reference"]
    changed = _measured(difference["mean"], difference)
    return [*own, changed, _p(difference["p_holm"]), difference["verdict"]]


def _p(p: float | None) -> str:
    return "" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


def _measured(value: float, ends: Content) -> str:
    if ends["low"] is None:
        return rounded(value)
    return f"{rounded(value)} [{rounded(ends['low'])}, {rounded(ends['high'])}]"


def _printed(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _origin(content: Content) -> str:
    hardware, seeds = content["hardware"], content["seeds"]
    machine = hardware["gpu"] or f"{hardware['processor']}, {hardware['cores']} cores"
    told = f"{len(seeds)} seeds" if len(seeds) > 1 else "one seed" if seeds else "no seeds"
    splits = {run["split_seed"] for record in content["groups"].values() for run in record["runs"]} - {None}
    told += f" and {len(splits)} splits" if len(splits) > 1 else ""
    command = re.sub(r" --(out|record) \S+| --resume", "", content["command"])
    return f"`{command}`; commit {content['commit']}; {told}; {machine}; {content['date']}."
