"""Columns of a table as one vector."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from tailgrad.checks import InputError, in_range
from tailgrad.types import Inputs, TableInputs


def check_columns(numbers: int, categories: Sequence[int]) -> tuple[int, ...]:
    """The cardinalities as a tuple, if there is a column at all.

    Args:
        numbers: numeric columns F, at least 0.
        categories: for each categorical column the categories seen in training, at least 1.

    Raises:
        InputError: a number is outside its range, or there is no column.

    Example:
        >>> check_columns(3, [4, 7])
        (4, 7)
    """
    in_range("numbers", numbers, 0)
    for column, size in enumerate(categories):
        in_range(f"categories[{column}]", size, 1)
    if not numbers and not categories:
        raise InputError(
            "numbers or categories must name at least one column, got numbers=0 and no categories; "
            "give the number of numeric columns and the cardinality of each categorical one"
        )
    return tuple(int(size) for size in categories)


def columns_of(inputs: Inputs, numbers: int, categories: int) -> tuple[Tensor, Tensor]:
    """Numbers [N, F] and categories [N, C] of rows, or of vectors [N, F] where there are no categories.

    Args:
        inputs: rows of a table, or feature vectors.
        numbers: F, as the network was built for.
        categories: C, likewise.

    Raises:
        InputError: the rows have other columns.

    Example:
        >>> columns_of(torch.zeros(2, 3), 3, 0)[1].shape
        torch.Size([2, 0])
    """
    if isinstance(inputs, TableInputs):
        values, codes = inputs.numbers, inputs.categories
    else:
        values, codes = inputs, torch.empty(len(inputs), 0, dtype=torch.int64, device=inputs.device)
    fits = values.ndim == 2 and values.shape[1] == numbers and values.is_floating_point()
    if not fits or codes.ndim != 2 or codes.shape[1] != categories:
        raise InputError(
            f"inputs must be rows of {numbers} numbers (floating point) and {categories} categories, got "
            f"{values.dtype} {list(values.shape)} and {list(codes.shape)}; give TableInputs, or vectors "
            "[N, F] where there are no categories"
        )
    return values, codes


def example_row(numbers: int, categories: int) -> TableInputs:
    """One row that is no random draw, of categories not seen.

    Example:
        >>> len(example_row(3, 1))
        1
    """
    return TableInputs(torch.linspace(-1, 1, numbers)[None], torch.zeros(1, categories, dtype=torch.int64))


@torch.no_grad()
def start_unseen_at_zero(embeddings: nn.ModuleList) -> None:
    """Set the vector of position 0, a category that training has not seen, to 0 in every table.

    It is trained where rows with position 0 (missing values) are.

    Args:
        embeddings: of ``nn.Embedding``, changed in place.

    Example:
        >>> tables = nn.ModuleList([nn.Embedding(3, 2)])
        >>> start_unseen_at_zero(tables)
        >>> tables[0].weight[0].tolist()
        [0.0, 0.0]
    """
    for table in embeddings:
        cast("nn.Embedding", table).weight[0].zero_()


class ColumnVectors(nn.Module):
    """Numbers as they are, beside one learned vector for each category: ``[x, E_1[c_1], ..., E_C[c_C]]``.

    Args:
        numbers: numeric columns F, at least 0.
        categories: for each categorical column the categories seen in training, at least 1; position 0 of
            ``TableInputs.categories`` is one that was not seen.
        embedding: width of a category's vector, at least 1; a column of fewer categories takes their number.

    Raises:
        InputError: as ``check_columns`` and ``columns_of``.

    Source: Gorishniy et al., arXiv 2106.11959, section 3. The zero vector of unseen categories is ours.

    Example:
        >>> columns = ColumnVectors(3, [4, 20], embedding=8)
        >>> columns(TableInputs(torch.rand(2, 3), torch.tensor([[0, 20], [4, 0]]))).shape
        torch.Size([2, 15])
    """

    def __init__(self, numbers: int, categories: Sequence[int] = (), *, embedding: int = 8) -> None:
        super().__init__()
        in_range("embedding", embedding, 1)
        sizes = check_columns(numbers, categories)
        self.numbers = numbers
        widths = [min(size, embedding) for size in sizes]
        self.embeddings = nn.ModuleList(
            nn.Embedding(size + 1, width) for size, width in zip(sizes, widths, strict=True)
        )
        for table, width in zip(self.embeddings, widths, strict=True):
            nn.init.uniform_(cast("nn.Embedding", table).weight, -(width**-0.5), width**-0.5)
        start_unseen_at_zero(self.embeddings)
        self.width = numbers + sum(widths)

    def forward(self, inputs: Inputs) -> Tensor:
        """Vectors [N, width] of rows."""
        values, codes = columns_of(inputs, self.numbers, len(self.embeddings))
        parts = [table(codes[:, column]) for column, table in enumerate(self.embeddings)]
        return torch.cat([values, *parts], 1) if parts else values
