"""Which images of a run are shown: the worst confusions and the classes that are hurt, in examples."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tailgrad.checks import InputError
from tailgrad.data import Source, UnreadableImage, open_source
from tailgrad.data.table_encoding import is_of_rows
from tailgrad.report.blocks import Block, Gallery, Picture, Text
from tailgrad.report.folders import Run
from tailgrad.report.look_alikes import mistakes
from tailgrad.report.thumbnails import data_address
from tailgrad.report.wording import short

EMBEDDED = (
    "These images are test images of this run, embedded in this file as small copies. To share the report "
    "without them, write it again with: tailgrad report FOLDER --no-images (report.images=false for every "
    "report of a run)."
)
OF_ROWS = "the data are rows of a table."
OFF = "Example images are switched off here (--no-images, or report.images=false)."
_CONFUSIONS, _HURT = 6, 3
_WRONG, _RIGHT = 4, 2
_MOST_BYTES = 1_500_000  # of all copies together


@dataclass(frozen=True, slots=True)
class Predicted:
    """A test image and what was said of it.

    Example:
        >>> Predicted("a.jpg", 0, 1).is_wrong
        True
    """

    name: str
    target: int
    predicted: int

    @property
    def is_wrong(self) -> bool:
        """Whether it was taken for another class."""
        return self.target != self.predicted


@dataclass(frozen=True, slots=True)
class Examples:
    """Two galleries, or the reason why there is none.

    Example:
        >>> Examples(why="Switched off.").of_mistakes[0].text
        'No example images: Switched off.'
    """

    mistakes: Gallery | None = None
    hurt: Gallery | None = None
    why: str = ""

    @property
    def of_mistakes(self) -> tuple[Block, ...]:
        """Blocks with images of the worst confusions; none for the rows of a table."""
        if self.why == OF_ROWS:
            return ()
        if self.why:
            return (Text(self.why if self.why == OFF else f"No example images: {self.why}"),)
        return () if self.mistakes is None else (self.mistakes,)

    @property
    def of_hurt(self) -> tuple[Block, ...]:
        """Blocks with images of the classes that fare worst."""
        return () if self.hurt is None else (self.hurt, Text(EMBEDDED))


def examples(run: Run, *, shown: bool = True, source: Source | None = None) -> Examples:
    """Small copies of test images of a run.

    Args:
        run: the run.
        shown: False for none.
        source: where the images are, if it is open; else the one that the run's configuration names.

    Example: see ``write_report``.
    """
    if run.path is not None and is_of_rows(run.path):
        return Examples(why=OF_ROWS)
    if not shown or not run.config.get("report", {}).get("images", True):
        return Examples(why=OFF)
    try:
        rows = _predictions(run)
        album = _Album(source if source is not None else _source(run), rows)
    except InputError as error:
        return Examples(why=str(error))
    names = run.classes.names
    of_mistakes = Gallery("The worst confusions in examples", tuple(_mistakes(run, rows, album, names)))
    of_hurt = Gallery("The classes that fare worst in examples", tuple(_hurt(run, rows, album, names)))
    if album.lost and not of_mistakes.rows and not of_hurt.rows:
        return Examples(why=album.reason)
    return Examples(of_mistakes if of_mistakes.rows else None, of_hurt if of_hurt.rows else None)


def _mistakes(
    run: Run, rows: Sequence[Predicted], album: "_Album", names: Sequence[str]
) -> Iterator[tuple[str, tuple[Picture, ...]]]:
    for one in mistakes(run.test.confusion, _CONFUSIONS):
        wrong = [row for row in rows if (row.target, row.predicted) == (one.true, one.predicted)]
        other = [row for row in rows if row.target == row.predicted == one.predicted]
        title = f"{short(names[one.true], 40)} taken for {short(names[one.predicted], 40)}"
        pictures = album.pictures(wrong[:_WRONG], lambda row: f"is {short(names[row.target])}")
        pictures += album.pictures(other[:_RIGHT], lambda row: f"{short(names[row.target])}, found")
        if pictures:
            yield f"{title}: {one.images} images", tuple(pictures)


def _hurt(
    run: Run, rows: Sequence[Predicted], album: "_Album", names: Sequence[str]
) -> Iterator[tuple[str, tuple[Picture, ...]]]:
    tested = [k for k, row in enumerate(run.test.classes) if row.support]
    ranked = sorted(tested, key=lambda k: run.test.classes[k].f1.value)
    for k in ranked[: min(_HURT, max(1, len(tested) // 2))]:
        mine = [row for row in rows if row.target == k]
        missed = [row for row in mine if row.is_wrong][:_WRONG]
        pictures = album.pictures(missed, lambda row: f"taken for {short(names[row.predicted])}")
        found = [row for row in mine if not row.is_wrong][:_RIGHT]
        pictures += album.pictures(found, lambda _: "found")
        count = run.test.classes[k].train_count
        if pictures:
            yield f"{short(names[k], 40)}: {count} training images", tuple(pictures)


class _Album:
    """Copies of images by name, until they are too much for a page."""

    def __init__(self, source: Source, rows: Sequence[Predicted]) -> None:
        wanted = {row.name for row in rows}
        names = ((i, _storable(source.items.name(i))) for i in range(len(source.items)))
        self._items, self._place = source.items, {name: i for i, name in names if name in wanted}
        self._bytes = self.lost = 0
        self.reason = f"none of the {len(wanted)} test images is in {source.name!r} under its name."

    def pictures(self, rows: Sequence[Predicted], words: Callable[[Predicted], str]) -> list[Picture]:
        found = ((row, self._address(row.name)) for row in rows)
        return [
            Picture(data, f"test image {row.name}", words(row), "warn" if row.is_wrong else "fine")
            for row, data in found
            if data
        ]

    def _address(self, name: str) -> str:
        if name not in self._place or self._bytes > _MOST_BYTES:
            self.lost += 1
            return ""
        try:
            data = data_address(self._items.load(self._place[name]))
        except (UnreadableImage, OSError):
            self.lost += 1
            return ""
        self._bytes += len(data)
        return data


def _storable(name: str) -> str:
    return name.encode("utf-8", "backslashreplace").decode()


def _predictions(run: Run) -> list[Predicted]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = None if run.path is None else run.path / "predictions.parquet"
    if path is None or not path.is_file():
        raise InputError("predictions.parquet is not in the folder of the run.")
    columns = ["part", "name", "target", "predicted"]
    try:
        table: list[dict[str, Any]] = pq.read_table(path, columns=columns).to_pylist()
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise InputError(f"predictions.parquet cannot be read: {short(str(error), 120)}.") from error
    return [Predicted(row["name"], row["target"], row["predicted"]) for row in table if row["part"] == "test"]


def _source(run: Run) -> Source:
    """The source that the configuration names, where it is at hand: nothing is fetched for a report."""
    named, data = str(run.config.get("source", "")), run.config.get("data", {})
    gone = f"the data {short(named, 60)!r} cannot be opened from here."
    if not named:
        raise InputError("the run does not say where its data lie (config.yaml).")
    try:
        if named != "digits-lt" and not Path(named).expanduser().exists():
            raise InputError(gone)
        options = {key: data.get(key) for key in ("root", "image_column", "label_column")}
        return open_source(named, **options)
    except (InputError, OSError, ValueError) as error:
        raise InputError(gone) from error
