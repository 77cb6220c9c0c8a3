"""Keys of a contrastive loss, over all ranks, and their similarities to the anchors of this one."""

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional as F

from tailgrad.distributed import is_spread, sum_over_ranks, summed
from tailgrad.precision import full_precision


def gathered(rows: Tensor, spread: bool = True) -> tuple[Tensor, int]:
    """The rows of all ranks one after the other, and where those of this rank begin.

    Ranks may differ in length. The gradient of every rank's loss reaches the rows it used, wherever they came
    from: averaged over ranks, as DDP does, it is that of the mean of the ranks' losses.

    Args:
        rows: [M, ...].
        spread: whether to look at other ranks at all.

    Example:
        >>> gathered(torch.eye(2))[1]
        0
    """
    if not (spread and is_spread()):
        return rows, 0
    sizes = torch.zeros(dist.get_world_size(), dtype=torch.int64, device=rows.device)
    sizes[dist.get_rank()] = len(rows)
    ends = sum_over_ranks(sizes).cumsum(0).tolist()
    start = ends[dist.get_rank()] - len(rows)
    whole = F.pad(rows, [0, 0] * (rows.ndim - 1) + [start, ends[-1] - start - len(rows)])
    return summed(whole), start


def similarities(anchors: Tensor, keys: Tensor, start: int, temperature: float) -> tuple[Tensor, Tensor]:
    """``<a, k> / t`` [M, L] with minus infinity for an anchor and itself, and the anchors' places [M, 1].

    Args:
        anchors: of length one [M, D].
        keys: of length one [L, D]; the anchors are rows ``start`` and on.
        start: place of the first anchor.
        temperature: t.

    Example:
        >>> similarities(torch.eye(2), torch.eye(2), 0, 0.5)[0]
        tensor([[-inf, 0.],
                [0., -inf]])
    """
    own = torch.arange(start, start + len(anchors), device=anchors.device)[:, None]
    with full_precision(anchors):
        scores = anchors @ keys.T / temperature
    return scores.scatter(1, own, -torch.inf), own
