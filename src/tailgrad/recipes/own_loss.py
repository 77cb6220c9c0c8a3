"""A loss of the user's own: how it is named and made, and what is said where its code fails."""

import copy
import inspect
import linecache
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from tailgrad.checks import InputError
from tailgrad.recipes.own_code import CODE, code_sha256, own_codes, plain

MakeLoss = Callable[[list[int]], nn.Module]
_IMAGES = 8


def unwrapped(method: Any) -> tuple[Any, dict[str, Any]]:
    """What a ``functools.partial`` calls, and the settings that it gives; anything else with none.

    Raises:
        InputError: settings without names, or of a kind that no file can hold.

    Example:
        >>> unwrapped(partial(nn.CrossEntropyLoss, label_smoothing=0.1))[1]
        {'label_smoothing': 0.1}
    """
    if not isinstance(method, partial):
        return method, {}
    if method.args:
        raise InputError(
            f"settings of a loss must be given by name, got {method.args} in {method!r}; write "
            f"functools.partial({own_name(method.func)}, name=value)"
        )
    try:
        return method.func, plain(method.keywords)
    except TypeError as error:
        raise InputError(
            f"settings of a loss must be numbers, texts, lists or mappings, got {error} in "
            f"{sorted(method.keywords)}; write them so, or make the rest in a function of the class counts"
        ) from error


def is_factory(item: Any) -> bool:
    """Whether something can make a loss from class counts: a class of losses, or a function.

    Example:
        >>> is_factory(nn.CrossEntropyLoss), is_factory(nn.CrossEntropyLoss()), is_factory(dict)
        (True, False, False)
    """
    if inspect.isclass(item):
        return issubclass(item, nn.Module)
    return callable(item) and not isinstance(item, nn.Module)


def own_name(item: Any) -> str:
    """What a factory is called in names and messages.

    Example:
        >>> own_name(nn.CrossEntropyLoss), own_name(lambda counts: None)
        ('CrossEntropyLoss', 'own')
    """
    name = str(getattr(item, "__name__", type(item).__name__))
    return name if name.isidentifier() else "own"


def own_options(item: Any, settings: Mapping[str, Any]) -> dict[str, Any]:
    """What a configuration keeps of a loss of the user's own: its settings and the hash of its code.

    Example:
        >>> sorted(own_options(nn.CrossEntropyLoss, {"label_smoothing": 0.1}))
        ['label_smoothing', 'source_sha256']
    """
    return {**settings, CODE: code_sha256(item)}


def make_own(make: MakeLoss, counts: Sequence[int]) -> nn.Module:
    """The user's loss for these class counts, tried on a small batch of random logits.

    Args:
        make: a class, a function or a ``functools.partial``, called with the counts.
        counts: training examples of each class.

    Raises:
        InputError: it fails, is no module, or gives no loss; the line of the user's code is named.

    Example:
        >>> make_own(lambda counts: nn.CrossEntropyLoss(), [3, 1])
        CrossEntropyLoss()
    """
    name = _name_of(make)
    with own_errors(make):
        loss = make(list(counts))
    if not isinstance(loss, nn.Module):
        raise InputError(
            f"loss {name} must be a torch.nn.Module once it is called with the class counts, got "
            f"{type(loss).__name__}; return one"
        )
    if getattr(loss, "takes", "logits") == "logits":
        with own_errors(make, loss):
            _try(loss, len(counts), name)
    return loss


def _name_of(make: Any) -> str:
    return own_name(make.func if isinstance(make, partial) else make)


def _try(loss: nn.Module, num_classes: int, name: str) -> None:
    try:
        loss = copy.deepcopy(loss).cpu()  # what it counts or adapts begins with the training
    except Exception:  # anything may be in it; then training is the trial
        return
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn(_IMAGES, num_classes, generator=draw).requires_grad_()
    with torch.random.fork_rng(devices=[]):
        found = loss(logits, torch.arange(_IMAGES) % num_classes)
    if not isinstance(found, Tensor) or found.shape not in ((), (_IMAGES,)):
        got = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise InputError(
            f"loss {name} must give one number, or one for each image, as a tensor, got {got} for logits "
            f"[{_IMAGES}, {num_classes}]; return it from forward"
        )
    if not found.requires_grad:
        raise InputError(
            f"loss {name} must depend on the logits, got a tensor without a gradient; compute it with torch, "
            "without detach(), item() and no_grad()"
        )


@contextmanager
def own_errors(make: MakeLoss | None, loss: nn.Module | None = None) -> Iterator[None]:
    """Inside, an exception that is raised in the user's loss becomes one that names it and its line.

    Args:
        make: what makes the loss; None changes nothing.
        loss: the loss itself, once it is made.

    Raises:
        InputError: the user's code failed; the exception itself is its cause.

    Example:
        >>> def broken(counts): return counts["a"]
        >>> with own_errors(broken):
        ...     broken([3, 1])
        Traceback (most recent call last):
        ...
        tailgrad.checks.InputError: loss broken failed with TypeError: list indices must be ...
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        if make is None:
            raise
        place = _place(error, own_codes(make) | (own_codes(type(loss)) if loss is not None else set()))
        if not place:
            raise
        raise InputError(
            f"loss {_name_of(make)} failed with {type(error).__name__}: {error} {place}; mend it"
        ) from error


def _place(error: Exception, codes: set[Any]) -> str:
    """Where the user's code was at; empty where it had no part in it."""
    steps = [(frame.f_code, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    own = [step for step in steps if step[0] in codes]
    if not own:
        return ""
    code, line = own[-1]
    text = linecache.getline(code.co_filename, line).strip()
    return f"at {code.co_filename}:{line}, in {code.co_name}" + (f": {text}" if text else "")
