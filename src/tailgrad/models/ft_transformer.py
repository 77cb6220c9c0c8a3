"""The FT-Transformer for tables: a token for each column."""

from collections.abc import Sequence

from torch import Tensor, nn

from tailgrad.checks import InputError, in_range
from tailgrad.heads.pooling import mean_positions
from tailgrad.models.column_vectors import check_columns, columns_of, example_row, start_unseen_at_zero
from tailgrad.models.table_library import table_library
from tailgrad.types import Inputs, TableInputs

HEADS = 8


class FTTransformer(nn.Module):
    """Attention between the columns of a row, each of them a token.

    The features are what the network's own classifier reads: the class token behind a last LayerNorm, ReLU.

    Args:
        numbers: numeric columns F, at least 0.
        categories: for each categorical column the categories seen in training, at least 1; position 0 of
            ``TableInputs.categories`` is one that was not seen.
        blocks: attention blocks, 1 to 6.
        width: C, a multiple of 8; None is the package's width for that many blocks (192 for 3).
        attention_dropout: of the attention weights, 0 to 0.99; None is the package's.
        dropout: inside the feed-forward part, 0 to 0.99; None is the package's.

    Raises:
        InputError: a number is outside its range, there is no column, the package is missing, or rows with
            other columns arrive.

    Source: Gorishniy et al., arXiv 2106.11959, section 3.3, by its package ``rtdl_revisiting_models`` with
    the package's default sizes.

    Example:
        >>> FTTransformer(numbers=4, blocks=1, width=16)(torch.rand(2, 4)).shape  # doctest: +SKIP
        torch.Size([2, 16])
    """

    takes = "table"
    grid = False
    input_size: tuple[int, int] | None = None

    def __init__(
        self,
        *,
        numbers: int,
        categories: Sequence[int] = (),
        blocks: int = 3,
        width: int | None = None,
        attention_dropout: float | None = None,
        dropout: float | None = None,
    ) -> None:
        super().__init__()
        in_range("blocks", blocks, 1, 6)
        self.categories = check_columns(numbers, categories)
        self.numbers = numbers
        network = table_library("ft_transformer").FTTransformer
        options = network.get_default_kwargs(blocks)
        given = {"d_block": width, "attention_dropout": attention_dropout, "ffn_dropout": dropout}
        options |= {key: value for key, value in given.items() if value is not None}
        _check(options)
        sizes = [size + 1 for size in self.categories]
        self.net = network(n_cont_features=numbers, cat_cardinalities=sizes, d_out=None, **options)
        if sizes:
            start_unseen_at_zero(self.net.cat_embeddings.embeddings)
        self.channels = self.pooled = int(options["d_block"])
        self.final = nn.Sequential(nn.LayerNorm(self.channels), nn.ReLU())
        self.stages = (*(f"net.{name}" for name, _ in self.net.named_children()), "final")

    def forward(self, rows: Inputs) -> Tensor:
        """Features [N, C] of rows."""
        values, codes = columns_of(rows, self.numbers, len(self.categories))
        features: Tensor = self.net(values if self.numbers else None, codes if self.categories else None)
        finished: Tensor = self.final(features)
        return finished

    def example(self) -> TableInputs:
        """One row with the columns that the network was built for."""
        return example_row(self.numbers, len(self.categories))

    def pool(self, features: Tensor) -> Tensor:
        """The features themselves [N, C], in float32 or wider."""
        return mean_positions(features)


def _check(options: dict[str, float]) -> None:
    width = options["d_block"]
    if width < HEADS or width % HEADS:
        raise InputError(
            f"width must be a positive multiple of {HEADS}, got {width}; choose one, such as {8 * HEADS}"
        )
    in_range("attention_dropout", options["attention_dropout"], 0, 0.99)
    in_range("dropout", options["ffn_dropout"], 0, 0.99)
