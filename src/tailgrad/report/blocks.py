"""What a report is made of: pages of sections of texts, tables, figures and folded parts."""

import re
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph; ``strong`` for what nobody may miss.

    Example:
        >>> Text("One seed.", strong=True).kind
        'text'
    """

    kind: ClassVar[str] = "text"
    text: str
    strong: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """A table whose first column heads the rows.

    Args:
        caption: what it shows.
        header: one text a column.
        rows: cells as texts.

    Example:
        >>> Table("Classes", ("class", "F1"), (("cat", "0.500"),)).is_short("0.500 (0.400 to 0.600)")
        True
    """

    kind: ClassVar[str] = "table"
    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def is_short(self, cell: str) -> bool:
        """Whether a cell is kept on one line."""
        return len(cell) <= 28


@dataclass(frozen=True, slots=True)
class Figure:
    """A Plotly figure with the words that make it readable without seeing it.

    Args:
        title: what is drawn.
        meaning: how to read it, in plain words.
        alt: what it shows here, for those who cannot see it.
        spec: Plotly's ``{"data": [...], "layout": {...}}``.

    Example:
        >>> Figure("F1", "Longer is better.", "F1 of 2 classes.", {"data": [], "layout": {}}).kind
        'figure'
    """

    kind: ClassVar[str] = "figure"
    title: str
    meaning: str
    alt: str
    spec: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Grid:
    """Blocks side by side where the screen is wide enough.

    Example:
        >>> Grid((Text("left"), Text("right"))).kind
        'grid'
    """

    kind: ClassVar[str] = "grid"
    blocks: "tuple[Block, ...]"


@dataclass(frozen=True, slots=True)
class Folded:
    """Blocks behind a summary that opens on a click.

    Example:
        >>> Folded("Counts", (Text("many"),)).kind
        'folded'
    """

    kind: ClassVar[str] = "folded"
    title: str
    blocks: "tuple[Block, ...]"


Block = Text | Table | Figure | Grid | Folded


@dataclass(frozen=True, slots=True)
class Card:
    """One headline figure.

    Example:
        >>> Card("macro-F1", "0.615", "0.53 to 0.70").value
        '0.615'
    """

    label: str
    value: str
    note: str


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and what stands under it.

    Example:
        >>> Section("Every class", ()).anchor
        'every-class'
    """

    title: str
    blocks: tuple[Block, ...]

    @property
    def anchor(self) -> str:
        """Name to jump to."""
        return re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-")


@dataclass(frozen=True, slots=True)
class Page:
    """A whole report.

    Args:
        title: heading of the page.
        facts: what was run, in short pieces.
        cards: headline figures.
        conclusion: the sentence to take away.
        sections: the rest, in order; empty ones are left out.

    Example:
        >>> Page("A run", (), (), "Nothing yet.", ()).title
        'A run'
    """

    title: str
    facts: tuple[str, ...]
    cards: tuple[Card, ...]
    conclusion: str
    sections: tuple[Section, ...]
