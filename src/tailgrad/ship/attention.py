"""Attention between columns for any number of rows, as exporters can follow it."""

import math
from typing import Any

from torch import Tensor, nn


class FreeAttention(nn.Module):
    """``W_out concat_h(softmax(q_h k_h' / sqrt(d)) v_h)`` with the layers of the FT-Transformer's package.

    The package asks for ``len(q)``, which exporters write into the graph as the number of rows that they saw.

    Args:
        attention: ``MultiheadAttention`` of ``rtdl_revisiting_models`` without compression; its layers are
            shared.

    Source: Gorishniy et al., arXiv 2106.11959, section 3.3.

    Example: see ``with_free_attention``.
    """

    def __init__(self, attention: Any) -> None:
        super().__init__()
        self.heads = int(attention._n_heads)
        self.query, self.key, self.value = attention.W_q, attention.W_k, attention.W_v
        self.out = nn.Identity() if attention.W_out is None else attention.W_out

    def forward(self, x_q: Tensor, x_kv: Tensor) -> Tensor:
        """[N, tokens of x_q, width] of tokens [N, any, width]."""
        q, k, v = self._apart(self.query(x_q)), self._apart(self.key(x_kv)), self._apart(self.value(x_kv))
        shares = (q @ k.transpose(2, 3) / math.sqrt(q.shape[-1])).softmax(-1)
        found: Tensor = self.out((shares @ v).transpose(1, 2).flatten(2))
        return found

    def _apart(self, x: Tensor) -> Tensor:
        """[N, heads, tokens, width of a head]."""
        return x.reshape(x.shape[0], x.shape[1], self.heads, -1).transpose(1, 2)


def with_free_attention(network: Any) -> Any:
    """The network with every attention of that package replaced, in place; others stay.

    Example:
        >>> layer = nn.Linear(2, 2)
        >>> with_free_attention(nn.Sequential(layer))[0] is layer
        True
    """
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            kind = type(child)
            of_package = (kind.__module__, kind.__name__) == ("rtdl_revisiting_models", "MultiheadAttention")
            if of_package and child.key_compression is None:
                setattr(parent, name, FreeAttention(child))
    return network
