"""What several processes of one run do together; on one process everything is as if they were not there."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from tailgrad.checks import InputError
from tailgrad.files import guarded

if dist.is_available():
    # Before there is a group: the defaults of these functions keep one that is there, and with it its
    # threads, past the end of the interpreter, where they may abort a process that has done its work.
    import torch.distributed.nn.functional


class _Now:
    """What holds at the moment: of the whole process, since backward passes run in threads of their own."""

    alone = 0
    together = 0


def is_spread() -> bool:
    """Whether several ranks take part in this computation.

    Example:
        >>> is_spread()
        False
    """
    return not _Now.alone and dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def place() -> tuple[int, int]:
    """This process's rank and the number of ranks.

    Example:
        >>> place()
        (0, 1)
    """
    return (dist.get_rank(), dist.get_world_size()) if is_spread() else (0, 1)


@contextmanager
def as_one_process() -> Iterator[None]:
    """Inside, this process computes as if it were the only one: it holds the examples of all ranks.

    Example:
        >>> with as_one_process():
        ...     is_spread()
        False
    """
    _Now.alone += 1
    try:
        yield
    finally:
        _Now.alone -= 1


def sum_over_ranks(values: Tensor) -> Tensor:
    """The sum of ``values`` over all ranks, the same on each; ``values`` itself on one process.

    Example:
        >>> import torch
        >>> sum_over_ranks(torch.tensor([1.0, 2.0]))
        tensor([1., 2.])
    """
    if not is_spread():
        return values
    total = values.clone()
    dist.all_reduce(total)
    return total


def summed(values: Tensor) -> Tensor:
    """The sum over ranks, through which the gradients of all ranks' losses flow back to each.

    Averaged over ranks, as DDP does, that is the gradient of the mean of the ranks' losses.

    Args:
        values: of one shape on all ranks.

    Example:
        >>> import torch
        >>> summed(torch.ones(2))
        tensor([1., 1.])
    """
    if not is_spread():
        return values
    found: Tensor = _SumOverRanks.apply(values)  # type: ignore[no-untyped-call]  # PyTorch's own
    return found


class _SumOverRanks(torch.autograd.Function):
    @staticmethod
    def forward(_ctx: Any, values: Tensor) -> Tensor:
        return sum_over_ranks(values)

    @staticmethod
    def backward(_ctx: Any, gradient: Tensor) -> Tensor:
        return sum_over_ranks(gradient.contiguous())


def rows_of_all(rows: Tensor) -> tuple[Tensor, slice]:
    """The rows of all ranks one after the other, and where those of this rank are.

    Ranks may differ in length. Only this rank's rows get a gradient, that of this rank's own result: right
    where every rank computes the same from all rows, or where a result depends on one row alone.

    Args:
        rows: [N, ...], of one type and trailing shape on all ranks.

    Example:
        >>> import torch
        >>> rows_of_all(torch.eye(2))[1]
        slice(None, None, None)
    """
    if not is_spread():
        return rows, slice(None)
    rank, world = place()
    lengths = torch.zeros(world, dtype=torch.int64, device=_home(rows))
    lengths[rank] = len(rows)
    ends = sum_over_ranks(lengths).cumsum(0).tolist()
    own = slice(ends[rank] - len(rows), ends[rank])
    found: Tensor = _Rows.apply(rows, own, ends[-1])  # type: ignore[no-untyped-call]  # PyTorch's own
    return found, own


class _Rows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, own: slice, total: int) -> Tensor:
        ctx.own = own
        everyone = rows.new_zeros(total, *rows.shape[1:])
        everyone[own] = rows
        dist.all_reduce(everyone)  # a sum with zeros: every backend can, on every device
        return everyone

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return gradient[ctx.own], None, None


def _home(rows: Tensor) -> torch.device:
    """Where small numbers travel without waiting for the device, if they can."""
    return torch.device("cpu") if "cpu:gloo" in dist.get_backend_config() else rows.device


def for_averaging(everyone: Tensor, share: float | None = None) -> None:
    """Make the gradients of ``rows_of_all`` those whose mean over ranks is meant.

    Every rank's part of the gradient is a part of a sum, which DDP divides by the number of ranks.

    Args:
        everyone: the rows, before the backward pass.
        share: weight of this rank in the mean; None for all the same.

    Example:
        >>> import torch
        >>> for_averaging(torch.ones(2))
    """
    if is_spread() and everyone.requires_grad:
        factor = 1 / share if share else float(dist.get_world_size())
        everyone.register_hook(lambda gradient: gradient * factor)  # type: ignore[no-untyped-call]


def mean_over_ranks(value: Tensor, number: int) -> Tensor:
    """The mean of all ranks' examples from this rank's mean, and its number of them.

    Example:
        >>> import torch
        >>> mean_over_ranks(torch.tensor(2.0), 3)
        tensor(2.)
    """
    if not is_spread():
        return value
    sums = sum_over_ranks(torch.stack([value * number, value.new_tensor(float(number))]))
    mean: Tensor = sums[0] / sums[1]
    return mean


def agreed(value: Any) -> Any:
    """What the first rank says, on all: for what the clock or a measurement decides.

    Args:
        value: anything that JSON can hold.

    Example:
        >>> agreed({"precision": "float32"})
        {'precision': 'float32'}
    """
    if not is_spread():
        return value
    text = torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8)
    home = _home(torch.empty(0, device="cuda" if torch.cuda.is_available() else "cpu"))
    length = torch.tensor(len(text), device=home)
    dist.broadcast(length, 0)
    said = text.to(home) if dist.get_rank() == 0 else torch.empty(int(length), dtype=torch.uint8, device=home)
    dist.broadcast(said, 0)
    return json.loads(bytes(said.tolist()))


def first_does(work: Callable[[], object]) -> None:
    """Let the first rank work while the others wait, where a run is shared (``together``).

    It begins when all have come here, so that none still reads what is changed, and what it could not do is
    an error on all.

    Args:
        work: anything; on one process, and outside ``together``, whoever calls does it.

    Raises:
        InputError: what ``work`` raises, on every rank.

    Example:
        >>> first_does(lambda: print("done"))
        done
    """
    if not (_Now.together and is_spread()):
        work()
        return
    agreed(None)
    sum_over_ranks(torch.zeros(1, device=_home(torch.zeros(1))))
    problem = _problem_of(work) if dist.get_rank() == 0 else None
    problem = agreed(problem)
    if problem is not None:
        raise InputError(problem)


def _problem_of(work: Callable[[], object]) -> str | None:
    try:
        with as_one_process():
            work()
    except (InputError, OSError) as error:
        return str(error)
    return None


@contextmanager
def together() -> Iterator[None]:
    """Inside, all ranks run the same program: the first one writes the files.

    Raises:
        ConnectionError: another process of the run has ended or does not answer.

    Example:
        >>> with together():
        ...     is_spread()
        False
    """
    _Now.together += 1
    try:
        with guarded(first_does):
            yield
    except RuntimeError as error:
        if is_spread() and _is_lost(error):
            raise ConnectionError(
                "another process of this run has ended or does not answer; read what it said, then go on "
                f"with the run by --resume ({str(error).splitlines()[0]})"
            ) from error
        raise
    finally:
        _Now.together -= 1


def _is_lost(error: RuntimeError) -> bool:
    return isinstance(error, dist.DistError) or any(word in str(error) for word in ("gloo", "Connection"))
