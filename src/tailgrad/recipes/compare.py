"""Several methods under one regime, over seeds, with paired intervals."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from tailgrad.checks import InputError, in_range, one_of
from tailgrad.data import Source
from tailgrad.engine import Diverged
from tailgrad.evaluate import units_of
from tailgrad.files import write_json, write_text, write_with
from tailgrad.recipes.announce import work
from tailgrad.recipes.chosen_methods import Chosen, Methods, choose
from tailgrad.recipes.compose import merge
from tailgrad.recipes.conclude import conclude, figure, mcnemar
from tailgrad.recipes.config import METHOD_KEYS, Config
from tailgrad.recipes.configure import configure
from tailgrad.recipes.crew import refuse_crew
from tailgrad.recipes.crossed import with_crossed
from tailgrad.recipes.folder_lock import Held
from tailgrad.recipes.fresh_folder import fresh_folder
from tailgrad.recipes.jobs import check_jobs
from tailgrad.recipes.many_runs import failure, run_many, title
from tailgrad.recipes.prepare import images_tested
from tailgrad.recipes.run_folder import RunFolder, differing_keys, environment, read_json
from tailgrad.recipes.spread import ENGINES, Spread, usual_jobs
from tailgrad.recipes.study_folder import left_out, start_study
from tailgrad.recipes.study_runs import StudyRuns
from tailgrad.recipes.talk import Listener, Talk
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
    console: Listener = "stderr",
    jobs: int | str | None = None,
    engine: str = "local",
    address: str | None = None,
) -> Study:
    """Train several methods under one regime and say whether they differ by more than chance.

    Seed s draws split s unless the source brings a test set. Every method sees the same splits, the same
    orders and the same measured precision. The first method is what the others are compared with.

    Args:
        source: as for ``train``.
        methods: names, YAML files, or what makes a loss (a class, a function of the class counts, a
            ``functools.partial`` of either); or a mapping from names of yours to these or to overlays.
            ``all`` among names, or ``all:loss`` and the like, stands for every method that suits.
        seeds: number of seeds, at least 1; below 3 nothing much can be told.
        split_seeds: splits that are crossed with the seeds: how many, or which. None follows the rule above.
        regime: name or YAML file; default that of the source.
        overrides: laid over every run; keys of the regime only. ``train.max_minutes`` limits the whole study.
        out: study folder; default ``studies/<data>.<regime>``.
        resume: go on with that folder: finished runs are kept, others finished; seeds and methods may grow.
            A method that ran there and is not named any more still counts as a test.
        console: where to say what happens: a console, "stderr", or None for silence.
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
    talk, above = Talk(console), regime_only(overrides or {})
    chosen = choose(source, methods, regime, above, talk)
    plans, opened = _plans(source, chosen, regime, above, _pairs(seeds, split_seeds))
    _check_tested(plans[: len(chosen.overlays)], opened)
    first = plans[0]
    folder = Path(out) if out is not None else Path("studies") / f"{opened.name}.{first.regime}"
    runs = StudyRuns(folder, opened, talk, chosen.own)
    spread = spread.checked(first, runs.own_losses, talk)
    chosen.try_own(first, opened)
    with fresh_folder(folder):
        dropped = start_study(folder, plans, chosen, resume=resume)
        others = left_out(folder, (runs.folder(config).path for config in plans), chosen.overlays)
        _announce(runs, plans, chosen)
        _warn(talk, dropped, others)
        try:
            results = _results(runs, plans, spread)
        except (Diverged, InputError):
            _report_what_is_left(runs, plans)
            raise
        one_split = "test" in opened.given or _is_one_split(plans)
        with of_shape(folder):
            comparison = conclude(
                results, own_test=one_split, focus=first.focus, dropped=dropped, left_out=others
            )
            tested = {c.method: runs.folder(c) for c in plans[: len(chosen.overlays)]}
            several = opened.indicators is not None  # no image is right or wrong as a whole
            comparison["mcnemar_seed0"] = [] if several else mcnemar(tested)
            if one_split and _has_single_runs(plans) and not several:
                comparison["paired"] = with_crossed(comparison["paired"], _folders(runs, plans))
        _write(folder, _differences(plans, chosen), comparison, results)
        write_report(folder, source=opened)
    return Study(folder, read_json(folder / "comparison.json"))


def _announce(runs: StudyRuns, plans: Sequence[Config], chosen: Chosen) -> None:
    """Say what all runs share, what is left out, how many runs there are, and how much work is left."""
    first, talk = plans[0], runs.talk
    talk(
        f"regime {first.regime}: {first.model.name}, {first.optim.name} lr {first.optim.lr:g}, "
        f"{first.schedule.name}, {first.train.epochs} epochs, batch {first.train.batch_size}, "
        f"augmentation {', '.join(first.train.augment) or 'none'}"
    )
    for name, why in chosen.reasons.items():
        talk(f"left out: {name}: {why}")
    pending = [config for config in plans if not runs.finished(config)]
    done = "" if len(pending) == len(plans) else f", {len(plans) - len(pending)} of them finished"
    much = _work(runs, pending) / first.train.epochs
    costs = f"; about the work of {much:.0f} runs of cross-entropy" if round(much) > len(pending) else ""
    differences = ", ".join(_differences(plans, chosen)) or "nothing"
    talk(f"{len(plans)} runs{done}{costs}; the methods differ in {differences}")


def _warn(talk: Talk, dropped: Sequence[str], others: Sequence[str]) -> None:
    """Say what ran in the study before and is not compared any more."""
    if dropped:
        talk(
            f"warning: ran in this study before and not compared any more: {', '.join(dropped)}; p values "
            "still count each as a test"
        )
    if others:
        talk(
            f"warning: {len(others)} finished runs of other seeds or splits are not compared, such as "
            f"{others[0]}; a choice among seeds that have been seen is biased, so compare all of them"
        )


def _work(runs: StudyRuns, plans: Sequence[Config]) -> float:
    return sum(work(config, runs.opened.num_classes) for config in plans)


def _differences(plans: Sequence[Config], chosen: Chosen) -> list[str]:
    return [key for key in differing_keys(list(plans[: len(chosen.overlays)])) if key != "method"]


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
        with spread.workers(runs.path, any(config.train.device != "cpu" for config in plans)) as workers:
            run_many(runs, plans, workers)
    results: dict[str, list[dict[str, Any]]] = {config.method: [] for config in plans}
    failed: dict[str, dict[str, Any]] = {}
    first_error: Exception | None = None
    pending = [config for config in plans if not runs.finished(config)]
    runs.talk.is_study = True
    runs.begin(pending)
    for config in plans:
        runs.talk.runs_left, runs.talk.work_left = max(1, len(pending)), _work(runs, pending)
        if error := _error_of(runs, config):
            first_error = first_error or error
            failed[title(config)] = _told(runs, config, error)
        else:
            results[config.method].append(runs.result(config))
        pending = [other for other in pending if other is not config]
    if failed:
        cause = None if first_error is None else first_error.__cause__  # what a loss of the user's own raised
        raise failure(failed, len(plans), runs.path) from (cause or first_error)
    return results


def _error_of(runs: StudyRuns, config: Config) -> Exception | None:
    """What ends one run and not the study, of a run that is trained now unless it is finished."""
    try:
        if not runs.finished(config):
            runs.train(config)
    except Held:
        raise  # who else works on the study will work on its other runs too
    except (Diverged, InputError) as error:
        return error
    return None


def _told(runs: StudyRuns, config: Config, error: Exception) -> dict[str, Any]:
    """Why a run failed, said and written into its folder, unless that was taken back for the next try."""
    diverged, folder = isinstance(error, Diverged), runs.folder(config)
    status = {"kind": "diverged" if diverged else "input", "text": str(error)}
    if diverged or folder.is_run:
        write_json(folder.path / "failure.json", status)
    runs.talk(f"{title(config)} failed: {error}")
    return status


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
    if not _is_whole(seeds):
        raise InputError(f"seeds must be a whole number, got {seeds}; give the number of seeds")
    if split_seeds is None:
        return [{"seed": seed} for seed in range(seeds)]
    splits = _splits(split_seeds)
    return [{"seed": seed, "split_seed": split} for split in splits for seed in range(seeds)]


def _splits(given: Any) -> list[int]:
    """The splits meant by a number of them, or by their names."""
    if _is_whole(given):
        return list(range(int(in_range("split_seeds", given, 1))))
    if isinstance(given, bool | str) or not isinstance(given, Iterable):
        raise InputError(f"split_seeds must be a whole number or a list of such, got {given!r}; name them")
    named = list(given)
    if not named or not all(map(_is_whole, named)) or min(named) < 0 or len(set(named)) < len(named):
        raise InputError(
            f"split_seeds must be different whole numbers of at least 0, got {named}; name each once"
        )
    return [int(split) for split in named]


def _is_whole(value: object) -> bool:
    """Whether it is a whole number; True and False count as none."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def _is_one_split(plans: Sequence[Config]) -> bool:
    """Whether all runs were told to share one split."""
    splits = {config.split_seed for config in plans}
    return len(splits) == 1 and splits != {None}


def _check_tested(plans: Sequence[Config], opened: Source) -> None:
    """Refuse now what could not be compared after all was trained: methods whose own regimes split anew."""
    first, *others = plans
    tested: frozenset[str] | None = None
    for config in others:
        if config.data == first.data:
            continue
        tested = tested or images_tested(first, opened)
        if images_tested(config, opened) != tested:
            raise InputError(
                f"methods must be tested on the same images, got others for {config.method} than for "
                f"{first.method}; leave data.test and data.val to the regime"
            )


def _has_single_runs(plans: Sequence[Config]) -> bool:
    """Whether every pair of a comparison is two runs, and no mean over the seeds of a split."""
    first = plans[0].method
    return units_of((c.seed, c.split_seed) for c in plans if c.method == first).single


def _plans(
    source: Any,
    chosen: Chosen,
    regime: str | None,
    overrides: Mapping[str, Any],
    pairs: Sequence[Mapping[str, int]],
) -> tuple[list[Config], Source]:
    plans: list[Config] = []
    opened: Any = chosen.opened or source
    for pair in pairs:
        for method in chosen.overlays.values():
            layered = merge(overrides, pair)
            config, opened = configure(source, opened=opened, method=method, regime=regime, overrides=layered)
            plans.append(config)
    return plans, opened


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
