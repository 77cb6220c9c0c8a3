"""Whether a configuration suits the kind of its data: images, or rows of a table."""

from tailgrad.checks import InputError
from tailgrad.data import Source
from tailgrad.data.table import rows_of
from tailgrad.models.create_model import BACKBONES
from tailgrad.recipes.components import NONE
from tailgrad.recipes.config import Config
from tailgrad.recipes.estimators import check_estimator
from tailgrad.recipes.resample_rows import check_resample


def check_rows(config: Config, source: Source) -> None:
    """Refuse what is for images on a table, and what is for tables on images, before any work is done.

    Raises:
        InputError: the network, or a part of the method or the regime, takes the other kind.

    Example:
        >>> from tailgrad.data import open_source
        >>> check_rows(Config(source="wine-lt"), open_source("wine-lt"))
        Traceback (most recent call last):
        ...
        tailgrad.checks.InputError: model.name must take rows of a table, got 'tripath' for 'wine-lt'; ...
    """
    check_resample(config.resample)
    check_estimator(config.estimator)
    of_rows = rows_of(source) is not None
    _check_network(config, source.name, of_rows)
    if of_rows:
        _check_images_only(config, source.name)
        return
    for section in ("resample", "estimator"):
        name = getattr(config, section).name
        if name != NONE:
            raise InputError(
                f"{section}.name must be none for images, got {name!r} for {source.name!r}; it works on rows "
                "of a table"
            )


def _check_network(config: Config, source: str, of_rows: bool) -> None:
    takes_rows = getattr(BACKBONES.get(config.model.name), "takes", "images") == "table"
    if of_rows and not takes_rows:
        names = [name for name, made in BACKBONES.items() if getattr(made, "takes", "images") == "table"]
        raise InputError(
            f"model.name must take rows of a table, got {config.model.name!r} for {source!r}; set it to "
            f"{', '.join(names[:-1])} or {names[-1]}, or use --regime table"
        )
    if takes_rows and not of_rows:
        raise InputError(
            f"model.name must take images, got {config.model.name!r} for {source!r}; it is for tables: name "
            "the column of the classes with --target, or choose another model"
        )


def _check_images_only(config: Config, source: str) -> None:
    train = config.train
    mixing = [config.mixing, *(stage.mixing for stage in config.stages)]
    wrong = {
        "train.augment": ", ".join(train.augment),
        "mixing.name": next((one.name for one in mixing if one.name != NONE), ""),
        "auxiliary.views": str(config.auxiliary.views)
        if config.auxiliary.name != NONE and config.auxiliary.views
        else "",
        "train.compile": "" if train.compile in ("off", "auto") else train.compile,
        "train.precision": "" if train.precision in ("auto", "float32") else train.precision,
    }
    for key, value in wrong.items():
        if value:
            raise InputError(
                f"{key} is for images, got {value!r} for the table {source!r}; leave it out"
                + (" (resample.name makes rows)" if key == "mixing.name" else "")
            )
