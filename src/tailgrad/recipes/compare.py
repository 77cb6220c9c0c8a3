"""Several methods under one regime, over seeds, with paired intervals."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from rich.console import Console

from tailgrad.checks import InputError, in_range, one_of
from tailgrad.data import Source
from tailgrad.data.source import safe_name
from tailgrad.engine import Diverged
from tailgrad.files import clear_partial, write_json, write_text, write_with
from tailgrad.recipes.compose import merge, overlay
from tailgrad.recipes.conclude import conclude, figure, mcnemar
from tailgrad.recipes.config import METHOD_KEYS, Config
from tailgrad.recipes.configure import as_overlay, configure, own_losses
from tailgrad.recipes.crew import refuse_crew
from tailgrad.recipes.crossed import with_crossed
from tailgrad.recipes.folder_lock import holds_files
from tailgrad.recipes.fresh_folder import fresh_folder
from tailgrad.recipes.jobs import check_jobs
from tailgrad.recipes.many_runs import failure, run_many, title
from tailgrad.recipes.run_folder import RunFolder, differing_keys, environment, read_json
from tailgrad.recipes.spread import ENGINES, Spread, usual_jobs
from tailgrad.recipes.study_runs import StudyRuns
from tailgrad.recipes.talk import Talk
from tailgrad.report import write_report
from tailgrad.untrusted import of_shape, parse_yaml, yaml_text


@dataclass(frozen=True)
class Study:
    """A finished comparison.

    Args:
        folder: where it is.
        comparison: the content of ``comparison.json``: rows, paired differences, conclusion.

    Example: see ``compare``.
    """

    folder: Path
    comparison: dict[str, Any]

    @property
    def conclusion(self) -> str:
        """One sentence."""
        return str(self.comparison["conclusion"])

    @property
    def report(self) -> Path:
        """The HTML report."""
        return self.folder / "report.html"


Methods = Sequence[str] | Mapping[str, Any]


def compare(
    source: Any,
    methods: Methods,
    *,
    seeds: int = 3,
    split_seeds: int | Sequence[int] | None = None,
    regime: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    console: Console | None = None,
    jobs: int | str | None = None,
    engine: str = "local",
    address: str | None = None,
) -> Study:
    """Train several methods under one regime and say whether they differ by more than chance.

    Seed s draws split s unless the source brings a test set. Every method sees the same splits, the same
    orders and the same measured precision. The first method is what the others are compared with.

    Args:
        source: as for ``train``.
        methods: names or YAML files, or a mapping from a name of yours to a name, an overlay or a loss class.
        seeds: number of seeds, at least 1; below 3 nothing much can be told.
        split_seeds: splits that are crossed with the seeds: how many, or which. None follows the rule above.
        regime: name or YAML file; default that of the source.
        overrides: laid over every run; keys of the regime only. ``train.max_minutes`` limits the whole study.
        out: study folder; default ``studies/<data>.<regime>``.
        resume: go on with that folder: finished runs are kept, others finished; seeds and methods may grow.
        console: where to say what happens; None is silent.
        jobs: runs at once, each in a process of its own, with the same result; "auto" is as many as memory
            and cores allow. By default 1, on a cluster "auto".
        engine: "local", or "ray" for a cluster, which must see the study folder and the source.
        address: of the Ray cluster, such as "auto" or "ray-head:6379"; without one Ray begins here.

    Raises:
        InputError: anything about the input is wrong, or runs failed: the others are kept.
        Diverged: all runs that failed diverged.
        Interrupted: the user pressed Ctrl-C, or the time was used up; the study can be resumed.

    Example:
        >>> import tempfile
        >>> quick = {"train": {"epochs": 1, "precision": "float32", "channels_last": False},
        ...          "interference": {"enabled": False}, "data": {"size": 48, "near_duplicates": False}}
        >>> study = compare("digits-lt", ["baseline", "csba"], seeds=1, overrides=quick,
        ...                 out=tempfile.mkdtemp() + "/study")
        >>> study.conclusion
        'With one seed nothing can be concluded: run at least three (--seeds 3).'
    """
    in_range("seeds", seeds, 1)
    refuse_crew("compare")
    one_of("engine", engine, ENGINES)
    spread = Spread(usual_jobs(engine) if jobs is None else check_jobs(jobs), engine, address)
    overlays = _overlays(methods)
    above = regime_only(overrides or {})
    talk = Talk(console)
    pairs = _pairs(seeds, split_seeds)
    plans, opened = _plans(source, overlays, regime, above, pairs)
    first = plans[0]
    folder = Path(out) if out is not None else Path("studies") / f"{opened.name}.{first.regime}"
    differences = [key for key in differing_keys(plans[: len(overlays)]) if key != "method"]
    runs = StudyRuns(folder, opened, talk, own_losses(methods))
    spread = spread.checked(first, runs.own_losses, talk)
    with fresh_folder(folder):
        _start(folder, plans, list(overlays), resume, talk)
        talk(f"{len(plans)} runs; the methods differ in {', '.join(differences) or 'nothing'}")
        try:
            results = _results(runs, plans, spread)
        except (Diverged, InputError):
            _report_what_is_left(runs, plans)
            raise
        one_split = "test" in opened.given or _is_one_split(plans)
        with of_shape(folder):
            comparison = conclude(results, own_test=one_split, focus=first.focus)
            tested = {c.method: runs.folder(c) for c in plans[: len(overlays)]}
            comparison["mcnemar_seed0"] = mcnemar(tested)
            if one_split and comparison["unit"] == "seed":
                comparison["paired"] = with_crossed(comparison["paired"], _folders(runs, plans))
        _write(folder, differences, comparison, results)
        write_report(folder, source=opened)
    return Study(folder, read_json(folder / "comparison.json"))


def _report_what_is_left(runs: StudyRuns, plans: Sequence[Config]) -> None:
    """A report of the runs that did finish, and of why the others did not."""
    if any(map(runs.finished, plans)):
        with suppress(InputError):  # what went wrong first is said
            write_report(runs.path, source=runs.opened)


def _folders(runs: StudyRuns, plans: Sequence[Config]) -> dict[str, list[RunFolder]]:
    found: dict[str, list[RunFolder]] = {}
    for config in plans:
        found.setdefault(config.method, []).append(runs.folder(config))
    return found


def _results(runs: StudyRuns, plans: Sequence[Config], spread: Spread) -> dict[str, list[dict[str, Any]]]:
    """Every run's result by method, in the order of the seeds; what is missing is trained."""
    if spread.is_many:
        with spread.workers(runs.path) as workers:
            run_many(runs, plans, workers)
    results: dict[str, list[dict[str, Any]]] = {config.method: [] for config in plans}
    failed: dict[str, dict[str, Any]] = {}
    for left, config in zip(range(len(plans), 0, -1), plans, strict=True):
        runs.talk.runs_left, runs.talk.is_study = left, True
        try:
            results[config.method].append(runs.result(config))
        except Diverged as error:
            failed[title(config)] = {"kind": "diverged", "text": str(error)}
            write_json(runs.folder(config).path / "failure.json", failed[title(config)])
            runs.talk(f"{title(config)} failed: {error}")
    if failed:
        raise failure(failed, len(plans), runs.path)
    return results


def _overlays(methods: Methods) -> dict[str, Mapping[str, Any]]:
    if isinstance(methods, str):
        raise InputError(f"methods must be a list of names, got the text {methods!r}; write [{methods!r}]")
    pairs = methods.items() if isinstance(methods, Mapping) else [(Path(str(m)).stem, m) for m in methods]
    found: dict[str, Mapping[str, Any]] = {}
    for name, method in pairs:
        if Path(name).name != name:
            raise InputError(
                f"methods must have names that can name a folder, got {name!r}; take {safe_name(name)!r}"
            )
        if name in found:
            raise InputError(f"methods must be distinct, got {name!r} twice; name each once")
        content = as_overlay(method)
        found[name] = {**(overlay("methods", content) if isinstance(content, str) else content), "name": name}
    if not found:
        raise InputError(f"methods must hold at least one name, got {methods!r}; see `tailgrad methods`")
    return found


def regime_only(overrides: Mapping[str, Any]) -> Mapping[str, Any]:
    """Overrides, unless they set what belongs to a method or to the comparison itself.

    Raises:
        InputError: they do.

    Example:
        >>> regime_only({"train": {"epochs": 3}})
        {'train': {'epochs': 3}}
    """
    for key in (*METHOD_KEYS, "method", "seed", "source", "regime"):
        if key in overrides:
            raise InputError(
                f"compare sets keys of the regime only, got {key!r}; write a method or regime file, or use "
                "its own argument"
            )
    return overrides


def _pairs(seeds: int, split_seeds: int | Sequence[int] | None) -> list[dict[str, int]]:
    """Seed and split of every run of a method, split by split."""
    if split_seeds is None:
        return [{"seed": seed} for seed in range(seeds)]
    if isinstance(split_seeds, int):
        split_seeds = range(int(in_range("split_seeds", split_seeds, 1)))
    if not split_seeds or len(set(split_seeds)) < len(split_seeds) or min(split_seeds) < 0:
        raise InputError(
            f"split_seeds must be different numbers of at least 0, got {list(split_seeds)}; name each once"
        )
    return [{"seed": seed, "split_seed": split} for split in split_seeds for seed in range(seeds)]


def _is_one_split(plans: Sequence[Config]) -> bool:
    """Whether all runs were told to share one split."""
    splits = {config.split_seed for config in plans}
    return len(splits) == 1 and splits != {None}


def _plans(
    source: Any,
    overlays: Mapping[str, Mapping[str, Any]],
    regime: str | None,
    overrides: Mapping[str, Any],
    pairs: Sequence[Mapping[str, int]],
) -> tuple[list[Config], Source]:
    plans, opened = [], source
    for pair in pairs:
        for method in overlays.values():
            layered = merge(overrides, pair)
            config, opened = configure(source, opened=opened, method=method, regime=regime, overrides=layered)
            plans.append(config)
    return plans, opened


def _splits(plans: Sequence[Config]) -> list[int | None]:
    return list(dict.fromkeys(config.split_seed for config in plans))


def _start(folder: Path, plans: Sequence[Config], methods: Sequence[str], resume: bool, talk: Talk) -> None:
    if folder.exists() and (not folder.is_dir() or (holds_files(folder) and not resume)):
        raise InputError(
            f"study folder must be new, got {folder}, which exists; choose another with --out, "
            "or add --resume"
        )
    clear_partial(folder, below=False)
    first = plans[0]
    content: dict[str, Any] = {
        "source": first.source,
        "regime": first.regime,
        "methods": list(methods),
        "seeds": len({config.seed for config in plans}),
        **({} if first.split_seed is None else {"split_seeds": _splits(plans)}),
        "focus": first.focus,
    }
    if (folder / "study.yaml").exists():
        _check_same_study(folder / "study.yaml", content)
    write_text(folder / "study.yaml", yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
    talk(
        f"regime {first.regime}: {first.model.name}, {first.optim.name} lr {first.optim.lr:g}, "
        f"{first.schedule.name}, {first.train.epochs} epochs, batch {first.train.batch_size}, "
        f"augmentation {', '.join(first.train.augment) or 'none'}"
    )


def _check_same_study(path: Path, content: Mapping[str, Any]) -> None:
    try:
        before = parse_yaml(yaml_text(path))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} must be a readable study, got {error}; restore it") from error
    for key in ("source", "regime", "focus"):
        if isinstance(before, dict) and before.get(key) != content[key]:
            raise InputError(
                f"{key} must stay as the study in {path.parent} was started, with {before.get(key)!r}, got "
                f"{content[key]!r}; use another --out"
            )


def _write(
    folder: Path,
    differences: Sequence[str],
    comparison: Mapping[str, Any],
    results: Mapping[str, Sequence[Mapping[str, Any]]],
) -> None:
    study = parse_yaml(yaml_text(folder / "study.yaml"))
    own_test = next(iter(results.values()))[0]["own_test"]
    study |= {"differences": list(differences), "own_test": own_test, "environment": environment()}
    write_text(folder / "study.yaml", yaml.safe_dump(study, sort_keys=False, allow_unicode=True))
    write_json(folder / "comparison.json", comparison)
    metrics = dict.fromkeys(row["metric"] for row in comparison["rows"])
    rows = [
        {
            **{
                key: run[key]
                for key in ("data", "regime", "method", "seed", "split_seed", "epochs", "best_epoch")
            },
            **{metric: figure(run, metric) for metric in metrics},
        }
        for runs in results.values()
        for run in runs
    ]
    table = pa.Table.from_pylist(rows)
    write_with(folder / "results.parquet", lambda partial: pq.write_table(table, partial))
