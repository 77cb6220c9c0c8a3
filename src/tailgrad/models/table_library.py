"""The library of networks for tables, which is optional."""

from importlib import import_module
from typing import Any

from tailgrad.checks import InputError


def table_library(network: str) -> Any:
    """The module ``rtdl_revisiting_models``.

    Args:
        network: what needs it, for the error.

    Raises:
        InputError: it is not installed.

    Example:
        >>> table_library("table_resnet").__name__  # doctest: +SKIP
        'rtdl_revisiting_models'
    """
    try:
        return import_module("rtdl_revisiting_models")
    except ModuleNotFoundError as error:
        raise InputError(
            f"{network} needs the package rtdl_revisiting_models, which is not installed; "
            "run pip install 'tailgrad[tables]', or choose mlp"
        ) from error
