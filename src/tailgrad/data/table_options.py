"""What has to be said of a table besides its file."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class TableOptions:
    """How the columns of a table are to be taken.

    Args:
        target: column of the classes; None where the source is no table.
        drop: columns that are left out.
        categories: columns of numbers that are names of categories.

    Example:
        >>> TableOptions("sick").is_read
        True
    """

    target: str | None = None
    drop: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()

    @property
    def is_read(self) -> bool:
        """Whether a source is to be opened as a table."""
        return self.target is not None

    @property
    def given(self) -> dict[str, Any]:
        """What is said, by its key in the configuration."""
        fields = {"target": self.target, "drop": self.drop, "categories": self.categories}
        return {key: value for key, value in fields.items() if value}
