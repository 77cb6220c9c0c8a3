"""What a trial of speed comes to."""

from typing import Any, NamedTuple


class Speed(NamedTuple):
    """How a run will step.

    Args:
        keys: of the section ``train``, none of them "auto" any more.
        seconds: of one step, measured.

    Example:
        >>> Speed({"precision": "float32"}, 0.1).seconds
        0.1
    """

    keys: dict[str, Any]
    seconds: float
