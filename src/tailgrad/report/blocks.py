"""What a report is made of: a page of questions, answered by parts of texts, tables, figures and pictures."""

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


@dataclass(frozen=True, slots=True)
class Part:
    """Blocks under a heading of their own, within a section.

    Example:
        >>> Part("Every class", ()).anchor
        'every-class'
    """

    kind: ClassVar[str] = "part"
    title: str
    blocks: "tuple[Block, ...]"

    @property
    def anchor(self) -> str:
        """Name to jump to."""
        return _anchor(self.title)


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at, and what came of it.

    Args:
        title: what was looked at.
        verdict: the outcome in two or three words.
        tone: how much it matters: ``"warn"``, ``"fine"``, ``"open"`` (cannot be told) or ``"missing"``.
        text: the figures behind the verdict.

    Example:
        >>> Check("Prior bias", "stands out", "warn", "Because.").tone
        'warn'
    """

    title: str
    verdict: str
    tone: str
    text: str


@dataclass(frozen=True, slots=True)
class Checks:
    """Outcomes one below the other, as a table of three columns.

    Args:
        caption: what was looked at.
        header: of the three columns.
        rows: the outcomes.

    Example:
        >>> Checks("Causes", ("cause", "verdict", "figures"), ()).kind
        'checks'
    """

    kind: ClassVar[str] = "checks"
    caption: str
    header: tuple[str, str, str]
    rows: tuple[Check, ...]


@dataclass(frozen=True, slots=True)
class Picture:
    """A small image.

    Args:
        data: a ``data:`` address that holds it.
        alt: what it is, for those who cannot see it.
        caption: a few words below it.
        tone: ``"warn"`` for a mistake, ``"fine"`` else.

    Example:
        >>> Picture("data:image/png;base64,", "cat 3", "taken for dog", "warn").tone
        'warn'
    """

    data: str
    alt: str
    caption: str
    tone: str


@dataclass(frozen=True, slots=True)
class Gallery:
    """Rows of small images, each under its words.

    Args:
        title: what is shown.
        rows: heading and images of each row.

    Example:
        >>> Gallery("Mistakes", ()).kind
        'gallery'
    """

    kind: ClassVar[str] = "gallery"
    title: str
    rows: tuple[tuple[str, tuple[Picture, ...]], ...]


@dataclass(frozen=True, slots=True)
class Picker:
    """Two runs side by side, chosen by the reader.

    Args:
        title: what is compared.
        labels: of the runs that can be picked.
        content: what the page's script draws from.

    Example:
        >>> Picker("Two runs", ("a", "b"), {}).kind
        'picker'
    """

    kind: ClassVar[str] = "picker"
    title: str
    labels: tuple[str, ...]
    content: dict[str, Any]


Block = Text | Table | Figure | Grid | Folded | Part | Checks | Gallery | Picker


def _anchor(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


@dataclass(frozen=True, slots=True)
class Card:
    """One headline figure.

    Args:
        label: what it is.
        value: the figure.
        note: its interval in words.
        ends: low end, figure and high end as shares, drawn as a line; or None.

    Example:
        >>> Card("macro-F1", "0.615", "0.53 to 0.70").value
        '0.615'
    """

    label: str
    value: str
    note: str
    ends: tuple[float, float, float] | None = None


@dataclass(frozen=True, slots=True)
class Section:
    """A question of the reader, its answer in short, and what the answer rests on.

    Args:
        title: the question.
        blocks: what the answer rests on; parts that hold nothing are left out.
        lead: the answer in a sentence or two.
        short: the question in one or two words, for the bar at the top.

    Example:
        >>> Section("Every class", ()).anchor, Section("Every class", (Part("F1", ()),)).shown
        ('every-class', ())
    """

    title: str
    blocks: tuple[Block, ...]
    lead: str = ""
    short: str = ""

    @property
    def anchor(self) -> str:
        """Name to jump to."""
        return _anchor(self.title)

    @property
    def shown(self) -> tuple[Block, ...]:
        """The blocks that hold something."""
        return tuple(block for block in self.blocks if not isinstance(block, Part) or block.blocks)


@dataclass(frozen=True, slots=True)
class Page:
    """A whole report.

    Args:
        title: heading of the page.
        facts: what was run, in short pieces.
        cards: headline figures.
        conclusion: the sentence to take away.
        sections: the rest, in order; empty ones are left out.
        missing: what the folder does not hold, one text each.

    Example:
        >>> Page("A run", (), (), "Nothing yet.", ()).title
        'A run'
    """

    title: str
    facts: tuple[str, ...]
    cards: tuple[Card, ...]
    conclusion: str
    sections: tuple[Section, ...]
    missing: tuple[str, ...] = ()
