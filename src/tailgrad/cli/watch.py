"""tailgrad watch."""

import sys
import textwrap
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console, Group
from rich.text import Text

from tailgrad.cli.options import JsonOption
from tailgrad.cli.output import printable, short, show_json

if TYPE_CHECKING:
    from tailgrad.recipes.follow import RunState, StudyState

_BARS = "▁▂▃▄▅▆▇█"
_PLAIN_BARS = "_.-:=+*#"
_WORDS = {
    "running": "running",
    "finished": "finished",
    "stopped": "its time was used up; --resume goes on",
    "failed": "failed; see its log in jobs/",
    "unfinished": "nobody works on it; --resume goes on",
}


def watch(
    folder: Annotated[str, typer.Argument(metavar="RUN|STUDY", help="Folder of a run or a study.")],
    once: Annotated[bool, typer.Option("--once", help="Show how it stands now, and end.")] = False,
    every: Annotated[
        float,
        typer.Option("--every", metavar="SECONDS", help="Time between two looks at the files.", min=0.1),
    ] = 2.0,
    as_json: JsonOption = False,
) -> None:
    """Follow a run or a study while it goes on: epochs, time left, loss, worst classes, conflict.

    Reads the files that the run writes and nothing else, so it may be started and
    stopped at any time, also for a run of yesterday. Ends when the run does.
    Without a terminal, and with --json, it shows how things stand and ends.

    Examples:
        tailgrad watch runs/my-run
        tailgrad watch studies/photos.folder --once
        tailgrad watch runs/my-run --json
    """
    from tailgrad.recipes.follow import follow

    found = follow(folder)
    if as_json:
        show_json(asdict(found) | ({"left": found.left} if hasattr(found, "left") else {}))
        return
    console = Console()
    if once or not console.is_terminal:
        _print(_view(found, console.width))
        return
    from rich.live import Live

    with Live(_view(found, console.width), console=console, auto_refresh=False) as live:
        while _is_going(found):
            time.sleep(every)
            found = follow(folder)
            live.update(_view(found, console.width), refresh=True)


def _print(view: Group) -> None:
    """Plain lines: no line of them is broken or padded."""
    for line in view.renderables:
        print(str(line))


def _is_going(found: Any) -> bool:
    return bool(found.going) if hasattr(found, "going") else found.state == "running"


def _view(found: "RunState | StudyState", width: int) -> Group:
    from tailgrad.recipes.follow import RunState

    lines = _run_lines(found, width) if isinstance(found, RunState) else _study_lines(found, width)
    return Group(*(Text(line, no_wrap=True, overflow="ellipsis") for line in lines))


def _run_lines(run: "RunState", width: int) -> list[str]:
    from tailgrad.recipes.waiting import duration

    about = [f"{run.state}: epoch {_epochs(run.epoch)} of {run.epochs}"]
    about += [f"{duration(run.seconds)} so far"] if run.seconds else []
    about += [f"at most {duration(run.left)} left"] if run.left is not None else []
    lines = [printable(run.name), ", ".join(about)]
    lines += [] if run.state in ("running", "finished") else [_WORDS[run.state]]
    lines += [f"last news {duration(run.quiet)} ago"] if run.state == "running" and run.quiet > 60 else []
    lines += _curve("loss", run.losses, width)
    lines += _curve(run.headline, run.scores, width)
    if run.worst:
        told = ", ".join(f"{printable(short(name))} {value:.2f}" for name, value in run.worst)
        when = "" if run.kept is None else f", epoch {run.kept}, which is kept"
        lines += _wrapped(f"worst classes (recall{when}): {told}", width)
    lines += _wrapped(f"conflict: {run.conflict}", width) if run.conflict else []
    lines += [] if run.test is None else [f"test macro-F1 {run.test:.3f}"]
    return lines


def _study_lines(study: "StudyState", width: int) -> list[str]:
    from tailgrad.recipes.waiting import duration

    planned = f" of {study.planned}" if study.planned else ""
    state = "going on" if study.going else "nobody works on it"
    lines = [f"{printable(study.name)}: {study.done}{planned} runs finished; {state}"]
    room = max(20, width - 36)
    for run in study.runs:
        name = printable(run.name)
        name = name if len(name) <= room else f"...{name[3 - room :]}"
        figure = run.test if run.test is not None else (run.scores[-1] if run.scores else None)
        told = "" if figure is None else f"{figure:.3f}"
        left = "" if run.left is None else f" {duration(run.left)} left"
        lines.append(f"{name:{room}}  {run.state:10}  {_epochs(run.epoch):>5}  {told:5}{left}".rstrip())
    return lines


def _epochs(done: float) -> str:
    return f"{done:.1f}".removesuffix(".0")


def _curve(name: str, values: tuple[float, ...], width: int) -> list[str]:
    """A line of bars, the newest value last and in figures."""
    known = [value for value in values if value == value and abs(value) != float("inf")]
    if not known:
        return []
    shown = _thinned(known, max(10, min(60, width - len(name) - 12)))
    low, high = min(shown), max(shown)
    span = (high - low) or 1.0
    marks = _BARS if "utf" in (sys.stdout.encoding or "").lower() else _PLAIN_BARS
    bars = "".join(marks[min(7, int(8 * (value - low) / span))] for value in shown)
    return [f"{name} {bars} {known[-1]:.3f}"]


def _thinned(values: list[float], most: int) -> list[float]:
    """At most so many values, evenly among all, the last one among them."""
    if len(values) <= most:
        return values
    return [values[round(i * (len(values) - 1) / (most - 1))] for i in range(most)]


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(printable(text), max(20, width), subsequent_indent="  ", break_on_hyphens=False)
