"""How far a finished run can be relied on, class by class."""

from pathlib import Path

from tailgrad.checks import InputError
from tailgrad.evaluate import Reliability
from tailgrad.recipes.run_folder import RunFolder
from tailgrad.report.reliability import read_reliability


def reliability(
    run: str | Path,
    *,
    alpha: float | None = None,
    score: str | None = None,
    answered: float | None = None,
) -> Reliability:
    """Calibration by class, False Head Rate, abstention and conformal sets of a finished run.

    What is left out is taken from the section ``reliability`` of the run's configuration. Nothing is trained
    and nothing is written.

    Args:
        run: folder of a finished run.
        alpha: share of images whose set may miss their class, in (0, 1).
        score: ``"hinge"`` or ``"cumulative"``.
        answered: share of validation images to answer, in (0, 1].

    Raises:
        InputError: the folder is no finished run with predictions of validation and test images; an option is
            out of range; or alpha or score was asked for and sets cannot be made (crepes is missing, or the
            validation images are too few).

    Example:
        >>> reliability("runs/missing")
        Traceback (most recent call last):
        ...
        tailgrad.checks.InputError: run must be the folder of a run, got runs/missing without config.yaml; ...
    """
    folder = RunFolder(Path(run))
    config, result = folder.config(), folder.result()
    wanted = {"alpha": alpha, "score": score, "answered": answered}
    options = config.reliability.model_dump() | {key: v for key, v in wanted.items() if v is not None}
    found = read_reliability(folder.path, result, options)
    if found.no_sets and (alpha is not None or score is not None):
        raise InputError(found.no_sets)
    return found
