"""The packages of the extra ``onnx``, loaded when needed."""

from importlib import import_module
from typing import Any

from tailgrad.checks import InputError


def needed(name: str, purpose: str) -> Any:
    """A module of the extra.

    Args:
        name: of the module.
        purpose: what it is needed for, as the end of a sentence.

    Raises:
        InputError: it is not installed.

    Example:
        >>> needed("onnx_of_tomorrow", "to export")
        Traceback (most recent call last):
        ...
        tailgrad.checks.InputError: onnx_of_tomorrow must be installed to export, got no such package; ...
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise InputError(
            f"{name.partition('.')[0]} must be installed {purpose}, got no such package; "
            "pip install 'tailgrad[onnx]'"
        ) from error
