"""A residual network for tables."""

from collections.abc import Sequence

from torch import Tensor, nn

from tailgrad.checks import in_range
from tailgrad.heads.pooling import mean_positions
from tailgrad.models.column_vectors import ColumnVectors, example_row
from tailgrad.models.table_library import table_library
from tailgrad.types import Inputs, TableInputs


class TableResNet(nn.Module):
    """Residual blocks of BatchNorm and two linear layers, on the numbers and category vectors of a row.

    The features are what the network's own classifier reads: behind a last BatchNorm and ReLU. Batches of one
    row cannot be trained on, because of BatchNorm.

    Args:
        numbers: numeric columns F, at least 0.
        categories: for each categorical column the categories seen in training (``ColumnVectors``).
        blocks: residual blocks, at least 1.
        width: C, at least 1; inside a block it is doubled.
        dropout: probability of zeroing one element inside a block, 0 to 0.99.
        residual_dropout: the same at a block's end.
        embedding: width of a category's vector, at least 1.

    Raises:
        InputError: a number is outside its range, there is no column, the package is missing, or rows with
            other columns arrive.

    Source: Gorishniy et al., arXiv 2106.11959, section 3.2, by its package ``rtdl_revisiting_models``; sizes
    as in the package's example.

    Example:
        >>> TableResNet(numbers=4, blocks=1, width=16)(torch.rand(2, 4)).shape  # doctest: +SKIP
        torch.Size([2, 16])
    """

    takes = "table"
    grid = False
    stages: tuple[str, ...] = ("columns", "net", "final")
    input_size: tuple[int, int] | None = None

    def __init__(
        self,
        *,
        numbers: int,
        categories: Sequence[int] = (),
        blocks: int = 2,
        width: int = 192,
        dropout: float = 0.15,
        residual_dropout: float = 0.0,
        embedding: int = 8,
    ) -> None:
        super().__init__()
        in_range("blocks", blocks, 1)
        in_range("width", width, 1)
        in_range("dropout", dropout, 0, 0.99)
        in_range("residual_dropout", residual_dropout, 0, 0.99)
        self.columns = ColumnVectors(numbers, categories, embedding=embedding)
        self.net = table_library("table_resnet").ResNet(
            d_in=self.columns.width,
            d_out=None,
            n_blocks=blocks,
            d_block=width,
            d_hidden_multiplier=2.0,
            dropout1=dropout,
            dropout2=residual_dropout,
        )
        self.final = nn.Sequential(nn.BatchNorm1d(width), nn.ReLU())
        self.channels = self.pooled = width

    def forward(self, rows: Inputs) -> Tensor:
        """Features [N, C] of rows."""
        features: Tensor = self.final(self.net(self.columns(rows)))
        return features

    def example(self) -> TableInputs:
        """One row with the columns that the network was built for."""
        return example_row(self.columns.numbers, len(self.columns.embeddings))

    def pool(self, features: Tensor) -> Tensor:
        """The features themselves [N, C], in float32 or wider."""
        return mean_positions(features)
