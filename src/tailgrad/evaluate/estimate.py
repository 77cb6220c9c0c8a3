"""A figure and its interval."""

import math
from dataclasses import asdict, dataclass
from typing import Any

NO_IMAGE = "no image: 0 by convention, nothing is known"
"""How a share of no images came about."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value, the interval around it, and how that interval was made.

    Args:
        value: the figure itself.
        low: lower end of the interval, or None where nothing can be said.
        high: upper end of the interval, or None.
        how: the method in words, for the reader of a report.

    Example:
        >>> print(Estimate(0.6153, 0.53, 0.7, "bootstrap"))
        0.615 [0.530, 0.700]
        >>> print(Estimate(0.6153))
        0.615
    """

    value: float
    low: float | None = None
    high: float | None = None
    how: str = ""

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            return f"{self.value:.3f}"
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionary that JSON can hold."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "Estimate":
        """Inverse of `to_dict`; a value that JSON could not hold (null) is NaN again."""
        value = fields["value"]
        return cls(**{**fields, "value": math.nan if value is None else value})
