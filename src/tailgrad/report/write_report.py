"""From a folder to its report."""

from collections.abc import Callable
from pathlib import Path

from tailgrad.checks import InputError
from tailgrad.files import write_text
from tailgrad.report.blocks import Page
from tailgrad.report.folders import read_run, read_study
from tailgrad.report.html_page import html_page
from tailgrad.report.run_report import run_page
from tailgrad.report.study_report import study_page
from tailgrad.untrusted import of_shape


def write_report(folder: Path) -> Path:
    """Write ``report.html`` into the folder of a run or of a study.

    Args:
        folder: of a finished run (``result.json``) or of a study with a finished run (``study.yaml``).

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
        page = _page(folder, lambda: study_page(read_study(folder)))
    elif (folder / "config.yaml").is_file() or (folder / "result.json").is_file():
        page = _page(folder, lambda: run_page(read_run(folder)))
    else:
        held = ", ".join(sorted(path.name for path in folder.iterdir())[:5]) or "nothing"
        raise InputError(
            f"folder must be a run or a study, got {folder}, which holds {held}; name the run's folder"
        )
    return write_text(folder / "report.html", page)


def _page(folder: Path, make: Callable[[], Page]) -> str:
    with of_shape(folder):
        return html_page(make())
