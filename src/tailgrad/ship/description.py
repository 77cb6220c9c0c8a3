"""What an artefact says of itself, checked when it is read."""

import math
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tailgrad.checks import InputError
from tailgrad.data.table_encoding import TableEncoding
from tailgrad.untrusted import parse_json

FORMAT = 1
"""Version of the description that this package writes, and the latest that it reads."""
ONE: Final = "images, one label"
SEVERAL: Final = "images, several labels"
ROWS: Final = "rows, one label"
MAX_SIDE = 4096
"""Longest side of the images that an artefact may ask for, in pixels."""

Share = Annotated[float, Field(ge=0, le=1)]
Side = Annotated[int, Field(ge=1, le=MAX_SIDE)]
Count = Annotated[int, Field(ge=0)]
Three = tuple[float, float, float]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Preprocessing(_Part):
    """How an image file becomes the input of the graph; scaling and normalisation are inside it.

    Example:
        >>> Preprocessing(size=(32, 32), mean=(0, 0, 0), std=(1, 1, 1)).resize
        'squash'
    """

    size: tuple[Side, Side]
    """(height, width)"""
    resize: Literal["squash", "crop"] = "squash"
    interpolation: Literal["bilinear"] = "bilinear"
    channels: Literal["RGB"] = "RGB"
    layout: Literal["NCHW"] = "NCHW"
    range: tuple[Literal[0], Literal[255]] = (0, 255)
    mean: Three
    std: Three
    normalised_inside: Literal[True] = True


class Focus(_Part):
    """The class in focus and the probability from which on it is chosen.

    Example:
        >>> Focus(name="broken", threshold=0.2).threshold
        0.2
    """

    name: str
    threshold: float


class Description(_Part):
    """Everything about a shipped network but its weights.

    Example:
        >>> images = Preprocessing(size=(32, 32), mean=(0, 0, 0), std=(1, 1, 1))
        >>> Description(names=("a", "b"), counts=(9, 1), preprocessing=images).temperature
        1.0
    """

    format: int = FORMAT
    tailgrad: str = ""
    task: Literal["images, one label", "images, several labels", "rows, one label"] = ONE
    names: Annotated[tuple[str, ...], Field(min_length=2)]
    counts: tuple[Count, ...]
    preprocessing: Preprocessing | None = None
    """of images"""
    encoding: TableEncoding | None = None
    """of the columns of rows, in place of preprocessing"""
    temperature: Annotated[float, Field(gt=0)] = 1.0
    """what the logits are still to be divided by"""
    calibration: str = "none"
    prior: tuple[Share, ...] | None = None
    """the class prior that the logits stand for, after the ledger"""
    target_prior: tuple[Share, ...] | None = None
    focus: Focus | None = None
    thresholds: tuple[Share, ...] | None = None
    """of several labels, the probability from which on each counts as there"""
    abstain: Share | None = None
    precision: Literal["float32", "int8"] = "float32"
    head: dict[str, Any] = {}
    ledger: dict[str, Any] = {}
    per_class: list[dict[str, Any]] = []
    headline: dict[str, Any] = {}
    conflict: list[str] = []
    int8: dict[str, Any] = {}
    check: dict[str, Any] = {}
    limits: list[str] = []
    provenance: dict[str, Any] = {}

    @property
    def several_labels(self) -> bool:
        """Whether an image has any number of labels, instead of one class."""
        return self.task == SEVERAL

    @property
    def kind(self) -> str:
        """What is classified, in the plural: ``"images"`` or ``"rows"``."""
        return "rows" if self.task == ROWS else "images"

    @model_validator(mode="after")
    def _one_entry_a_class(self) -> Self:
        for name in ("counts", "prior", "target_prior", "thresholds"):
            values = getattr(self, name)
            if values is not None and len(values) != len(self.names):
                raise ValueError(f"{name} has {len(values)} entries for {len(self.names)} classes")
        for name in ("prior", "target_prior"):
            values = getattr(self, name)
            if values is not None and not math.isclose(sum(values), 1, abs_tol=1e-3):
                raise ValueError(f"{name} sums to {sum(values):.4g}")
        if not sum(self.counts) > 0:
            raise ValueError(f"no training {self.kind}")
        if len(set(self.names)) != len(self.names):
            raise ValueError("two classes of one name")
        if self.focus is not None and self.focus.name not in self.names:
            raise ValueError(f"focus on {self.focus.name!r}, which is no class")
        return self

    @model_validator(mode="after")
    def _preprocessing_or_encoding(self) -> Self:
        form, columns = self.preprocessing, self.encoding
        if (columns is not None) != (self.task == ROWS):
            raise ValueError(f"encoding of columns is {'missing' if columns is None else 'there'}")
        if (form is None) != (self.task == ROWS):
            raise ValueError(f"preprocessing of images is {'missing' if form is None else 'there'}")
        if form is not None and any(not std > 0 for std in form.std):
            raise ValueError(f"std {form.std}")
        if columns is not None and columns.classes != self.names:
            raise ValueError(
                f"encoding has {len(columns.classes)} classes that are not the {len(self.names)} names"
            )
        if columns is not None and not sum(columns.size):
            raise ValueError("encoding without columns")
        return self

    @model_validator(mode="after")
    def _thresholds_go_with_labels(self) -> Self:
        of_one = (self.prior, self.target_prior, self.focus, self.abstain)
        if self.several_labels != (self.thresholds is not None):
            raise ValueError(f"thresholds of labels are {'missing' if self.several_labels else 'there'}")
        if self.several_labels and (any(one is not None for one in of_one) or self.temperature != 1):
            raise ValueError("a prior, a temperature or a choice of one class where there are several labels")
        return self


def read_description(text: str, name: str) -> Description:
    """A description from JSON.

    Args:
        text: JSON.
        name: what to call the file in an error.

    Raises:
        InputError: it is of a later version, or not what this package writes.

    Example:
        >>> read_description('{"format": 99}', "m.onnx")
        Traceback (most recent call last):
        ...
        tailgrad.checks.InputError: model must be of format 1 or earlier, got m.onnx of format 99; ...
    """
    try:
        found = parse_json(text)
        version = found["format"]
        if not isinstance(version, int):
            raise TypeError(f"format {version!r}")
        if version > FORMAT:
            raise InputError(
                f"model must be of format {FORMAT} or earlier, got {name} of format {version}; install the "
                f"tailgrad that wrote it ({str(found.get('tailgrad'))[:40]}) or a later one"
            )
        return Description.model_validate_json(text)
    except InputError:
        raise
    except (ValidationError, LookupError, RecursionError, TypeError, ValueError) as error:
        said = " ".join(str(error).split())[:200]
        raise InputError(
            f"model must hold what tailgrad export writes, got {name}: {said}; export the run again"
        ) from error
