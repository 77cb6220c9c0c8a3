"""A multi-layer perceptron for tables and feature vectors."""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from tailgrad.checks import InputError, in_range
from tailgrad.heads.pooling import mean_positions
from tailgrad.models.column_vectors import ColumnVectors, example_row
from tailgrad.types import Inputs, TableInputs


class MLP(nn.Module):
    """Linear layers with ReLU and dropout, on the numbers and the category vectors of a row.

    Args:
        numbers: numeric columns F, at least 0.
        categories: for each categorical column the categories seen in training (``ColumnVectors``).
        hidden: widths of the layers, at least one, each at least 1.
        dropout: probability of zeroing one element behind each layer, 0 to 0.99.
        embedding: width of a category's vector, at least 1.

    Raises:
        InputError: a number is outside its range, there is no column, or rows with other columns arrive.

    Source: Gorishniy et al., arXiv 2106.11959, section 3.1; two layers of 384 and dropout 0.1 as in the
    example of its package.

    Example:
        >>> import torch
        >>> MLP(numbers=4, hidden=(16, 8))(torch.rand(2, 4)).shape
        torch.Size([2, 8])
    """

    takes = "table"
    grid = False
    input_size: tuple[int, int] | None = None

    def __init__(
        self,
        *,
        numbers: int,
        categories: Sequence[int] = (),
        hidden: Sequence[int] = (384, 384),
        dropout: float = 0.1,
        embedding: int = 8,
    ) -> None:
        super().__init__()
        in_range("dropout", dropout, 0, 0.99)
        if not hidden:
            raise InputError(f"hidden must hold at least one width, got {hidden}; give one, such as (64,)")
        for place, width in enumerate(hidden):
            in_range(f"hidden[{place}]", width, 1)
        self.columns = ColumnVectors(numbers, categories, embedding=embedding)
        widths = [self.columns.width, *hidden]
        self.blocks = nn.Sequential(
            *(
                nn.Sequential(nn.Linear(before, after), nn.ReLU(), nn.Dropout(dropout))
                for before, after in pairwise(widths)
            )
        )
        self.channels = self.pooled = hidden[-1]
        self.stages = ("columns", *(f"blocks.{place}" for place in range(len(hidden))))

    def forward(self, rows: Inputs) -> Tensor:
        """Features [N, C] of rows."""
        features: Tensor = self.blocks(self.columns(rows))
        return features

    def example(self) -> TableInputs:
        """One row with the columns that the network was built for."""
        return example_row(self.columns.numbers, len(self.columns.embeddings))

    def pool(self, features: Tensor) -> Tensor:
        """The features themselves [N, C], in float32 or wider."""
        return mean_positions(features)
