"""From a folder to its report."""

from collections.abc import Callable, Sequence
from pathlib import Path

from tailgrad.checks import InputError
from tailgrad.data import Source
from tailgrad.data.table_encoding import is_of_rows
from tailgrad.files import write_text
from tailgrad.report.blocks import Page
from tailgrad.report.examples import examples
from tailgrad.report.folders import Run, Study, read_run, read_study
from tailgrad.report.html_page import html_page
from tailgrad.report.label_report import is_label_run, label_run_page, label_study_page
from tailgrad.report.of_rows import in_rows
from tailgrad.report.run_report import run_page
from tailgrad.report.study_report import study_page
from tailgrad.untrusted import of_shape

Told = Callable[[int, int], None]


def write_report(
    folder: Path, *, images: bool = True, source: Source | None = None, told: Told | None = None
) -> Path:
    """Write ``report.html`` into the folder of a run or of a study.

    Args:
        folder: of a finished run (``result.json``) or of a study with a finished run (``study.yaml``).
        images: hold small copies of a few test images; never where ``report.images`` of the run is false.
        source: where the images are, if it is open; else the one that the run names, where it is at hand.
        told: called with (done, total) after every run of a study that is read: half of the work.

    Returns:
        The path of the file, which holds everything it shows and asks the network for nothing.

    Raises:
        InputError: neither a run nor a study, nothing finished in it, a file that cannot be read or written.

    Example:
        >>> write_report(Path("runs/missing"))
        Traceback (most recent call last):
        ...
        tailgrad.checks.InputError: folder must be a run or a study, got runs/missing, which does ...
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(
            f"folder must be a run or a study, got {folder}, which does not exist; check the path"
        )
    if (folder / "study.yaml").is_file() and (folder / "runs").is_dir():
        page = _page(folder, lambda: _of_study(read_study(folder, _half(told)), images, source))
    elif (folder / "config.yaml").is_file() or (folder / "result.json").is_file():
        page = _page(folder, lambda: _of_run(read_run(folder), images, source))
    else:
        held = ", ".join(sorted(path.name for path in folder.iterdir())[:5]) or "nothing"
        raise InputError(
            f"folder must be a run or a study, got {folder}, which holds {held}; name the run's folder"
        )
    return write_text(folder / "report.html", page)


def _half(told: Told | None) -> Told | None:
    """Drawing takes about as long as reading."""
    return told and (lambda done, total: told(done, 2 * total))


def _of_run(run: Run, images: bool, source: Source | None) -> Page:
    if is_label_run(run):
        return label_run_page(run)
    return _told([run], run_page(run, examples(run, shown=images, source=source)))


def _of_study(study: Study, images: bool, source: Source | None) -> Page:
    if is_label_run(study.first):
        return label_study_page(study)
    page = study_page(study, examples(study.first, shown=images, source=source))
    return _told(study.all_runs, page, (study.name,))


def _told(runs: Sequence[Run], page: Page, others: Sequence[str] = ()) -> Page:
    """The page, in words for rows where the runs are of a table."""
    if runs[0].path is None or not is_of_rows(runs[0].path):
        return page
    named = [str(run.result.get(key, "")) for run in runs for key in ("data", "method", "regime")]
    return in_rows(page, [*runs[0].classes.names, *others, *named, *(run.name for run in runs)])


def _page(folder: Path, make: Callable[[], Page]) -> str:
    with of_shape(folder):
        return html_page(make())
