"""What an applied update does to the loss of every class, to first order."""

import copy
import math
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from tailgrad.checks import InputError, nearest
from tailgrad.frozen import frozen
from tailgrad.interference.gram import Array
from tailgrad.interference.groups import Groups

_COMPILED = "_orig_mod."  # torch.compile puts this in front of every name
# Hooks and a scheduler's wrapper around ``step`` would act on the originals.
_LEFT_BEHIND = ("step", "_optimizer_step_pre_hooks", "_optimizer_step_post_hooks")


Loss = Callable[[nn.Module], Tensor | tuple[Tensor, Tensor]]
"""model -> the scalar to minimise, or (losses [N], target [N]) for an optimiser that asks for these"""


class Gradients(Protocol):
    """What `align` needs of class gradients: names and sizes of the parameters, and inner products."""

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        """Examples of each class [K]."""

    @property
    def rows(self) -> Mapping[str, Tensor]:
        """Class gradients [K, numel] by parameter name; empty where they were sketched."""

    @property
    def groups(self) -> Groups:
        """Names of the parameters in each group."""

    def gram(self, group: str | None = None) -> Array:
        """Inner products of the class gradients [K, K]."""

    def dot(self, vector: Mapping[str, Tensor], group: str | None = None) -> Array:
        """Inner product of every class gradient with a vector by parameter name [K]."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Update:
    """A change of the parameters: ``delta = theta_before - theta_after = eta u``.

    With ``theta <- theta - eta u`` the learning rate is inside, so that momentum, Adam's scaling, weight
    decay and SAM are part of what is judged.

    Args:
        delta: parameter name -> change, in the parameter's shape; floating-point buffers may be among them
            and are ignored by whatever reads it.
        label: what made the change, for reports.
        lr: learning rate inside ``delta``, above 0, where it is one number; None where it is not known.

    Raises:
        InputError: no entry, or one that is not finite.

    Source: ours; explained in docs/conflict.md.

    Example:
        >>> Update({"weight": torch.ones(2)}, "by hand")
        Update('by hand', 1 tensors, norm 1.41)
    """

    delta: dict[str, Tensor]
    label: str = "update"
    lr: float | None = None

    def __post_init__(self) -> None:
        if not self.delta:
            raise InputError("update must change at least one parameter, got none; pass named parameters")
        for name, change in self.delta.items():
            if not change.isfinite().all():
                raise InputError(
                    f"update must be finite, got {change[~change.isfinite()][0].item()} in {name!r}; "
                    "look for a step that diverged"
                )

    def __repr__(self) -> str:
        return f"Update({self.label!r}, {len(self.delta)} tensors, norm {self.norm(self.delta):.3g})"

    def norm(self, names: Iterable[str]) -> float:
        """Euclidean norm over the named parameters, in float64.

        Example:
            >>> Update({"a": torch.tensor([3.0]), "b": torch.tensor([4.0])}).norm(["a", "b"])
            5.0
        """
        # float64 on the CPU, since some devices have none
        squares = (self.delta[name].cpu().double().square().sum().item() for name in names)
        return math.sqrt(sum(squares))

    @classmethod
    def between(
        cls, before: Mapping[str, Tensor], after: Mapping[str, Tensor], label: str = "update"
    ) -> "Update":
        """The update between two ``state_dict()``s (or mappings) of one model.

        Integer entries are left out. A state does not tell parameters from floating-point buffers, so the
        latter are kept here and ignored where the update is used.

        Args:
            before: name -> tensor; clone it, since a state dict shares memory with its model.
            after: the same names and shapes.
            label: what made the change.

        Raises:
            InputError: a name that one of them lacks, an update with other shapes, or one that is not finite.

        Example:
            >>> Update.between({"w": torch.tensor([1.0])}, {"w": torch.tensor([0.75])}).delta
            {'w': tensor([0.2500])}
        """
        old, new = _floating(before), _floating(after)
        for name in old.keys() ^ new.keys():
            have, lack = ("before", "after") if name in old else ("after", "before")
            raise InputError(
                f"{lack} must hold the parameters of {have}, got none named {name!r}; "
                "take both states from one model"
            )
        return cls({name: _difference(name, old[name], new[name]) for name in old}, label)

    @classmethod
    def of_step(cls, model: nn.Module, optimizer: Optimizer, loss: Loss, label: str = "") -> "Update":
        """The update that the next optimiser step would apply, performed on a copy of both.

        The copy starts from the optimiser's own state (momentum, Adam's moments) and draws the random numbers
        the real step would draw; model, gradients, optimiser and random states stay as they were. Hooks
        registered on the optimiser are not run. A loss with a state of its own (``GALALoss``) is taken with
        the state that it has and keeps it.

        Args:
            model: in the mode the step would be made in; the copy keeps it.
            optimizer: of the model's parameters; its ``step(closure)`` follows PyTorch, or takes a closure
                that returns (losses [N], target [N]) as ``SAM`` and ``ClassGradientOptimizer`` do.
            loss: a scalar from the copy of the model it is given; (losses [N], target [N]) for the latter.
            label: what made the change; by default the optimiser's name.

        Raises:
            InputError: a loss that is not a finite scalar, does not depend on the copy, or is not what the
                optimiser asks for.

        Example:
            >>> model = nn.Linear(1, 1, bias=False)
            >>> sgd = torch.optim.SGD(model.parameters(), lr=0.5)
            >>> Update.of_step(model, sgd, lambda m: 3 * m.weight.sum()).delta["weight"]
            tensor([[1.5000]])
        """
        model = getattr(model, "_orig_mod", model)
        memo: dict[int, object] = {}
        twin = copy.deepcopy(model, memo)
        twin_optimizer = _twin(optimizer, memo)  # one memo: its groups and states follow the parameters
        with _random_states_kept(model), torch.enable_grad():
            _step(twin_optimizer, _Closure(twin, twin_optimizer, loss))
        label = label or f"one step of {type(optimizer).__name__}"
        rates = {group.get("lr") for group in optimizer.param_groups}
        lr = next(iter(rates)) if len(rates) == 1 else None
        between = cls.between(dict(model.named_parameters()), dict(twin.named_parameters()), label)
        return cls(between.delta, label, lr if isinstance(lr, float) and lr > 0 else None)


@dataclass(frozen=True, slots=True, eq=False)
class Alignment:
    """How an update lies to the class gradients of one group of parameters.

    Args:
        group: the group of parameters.
        alignment: ``<g_c, u> / (|g_c| |u|)`` [K]; NaN without an example, a gradient or an update.
        predicted_change: ``-<g_c, delta>`` [K], change of class c's loss to first order; NaN without an
            example.
        whole: the same over all parameters where these were measured, else None. This is the change to set
            beside a measured one, since an update moves all of them.

    Source: ours; explained in docs/conflict.md.

    Example:
        >>> Alignment("all", np.array([1.0]), np.array([-0.1])).whole is None
        True
    """

    group: str
    alignment: Array
    predicted_change: Array
    whole: "Alignment | None" = None


def align(gradients: Gradients, update: Update) -> Alignment:
    """Cosine of the update with every class gradient, and the change of loss it predicts.

    ``A_c = <g_c, u> / (|g_c| |u|)`` and ``-<g_c, delta>``, over the primary group and over all parameters.

    Args:
        gradients: class gradients (K classes).
        update: of the same model.

    Raises:
        InputError: a parameter of the group is missing from the update or has another size.

    Source: ours; explained in docs/conflict.md.

    Example:
        >>> from types import SimpleNamespace
        >>> groups = Groups({"all": ["w"]}, {}, "all")
        >>> found = SimpleNamespace(counts=np.array([1, 1]), groups=groups, rows={})
        >>> found.gram, found.dot = lambda _: np.eye(2), lambda vector, _: vector["w"].numpy()
        >>> align(found, Update({"w": torch.tensor([0.3, -0.4])})).alignment.round(2)
        array([ 0.6, -0.8])
    """
    primary = gradients.groups.primary
    has_whole = "all" in gradients.groups.groups
    whole = _aligned(gradients, update, "all") if has_whole else None
    if whole is not None and primary == "all":
        return Alignment("all", whole.alignment, whole.predicted_change, whole)
    found = _aligned(gradients, update, primary)
    return Alignment(primary, found.alignment, found.predicted_change, whole)


@contextmanager
def applied(model: nn.Module, update: Update) -> Iterator[None]:
    """The model after the update, for as long as the context lasts.

    ``theta_after = theta - delta``; on leaving, also by an exception, every parameter is bitwise what it was.

    Args:
        model: with its parameters at ``theta_before``.
        update: of this model.

    Raises:
        InputError: a name that is no parameter or buffer of the model, or an update with other shapes.

    Example:
        >>> model = nn.Linear(1, 1)
        >>> _ = model.weight.data.fill_(1.0)
        >>> with applied(model, Update({"weight": torch.tensor([[0.25]])})):
        ...     print(model.weight.item())
        0.75
        >>> model.weight.item()
        1.0
    """
    changes = _changes(getattr(model, "_orig_mod", model), update)
    saved = [(parameter, parameter.detach().clone()) for parameter, _ in changes]
    try:
        with torch.no_grad():
            for parameter, change in changes:
                parameter.copy_(parameter.to(change.dtype) - change.to(parameter.device))
        yield
    finally:
        with torch.no_grad():
            for parameter, value in saved:
                parameter.copy_(value)


def _floating(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {
        name.replace(_COMPILED, ""): value.detach()
        for name, value in state.items()
        if isinstance(value, Tensor) and value.is_floating_point()
    }


def _difference(name: str, before: Tensor, after: Tensor) -> Tensor:
    if before.shape != after.shape:
        raise InputError(_other_shapes(name, before, after))
    exact = torch.promote_types(before.dtype, torch.float32)
    return before.to(exact) - after.to(before.device, exact)


def _other_shapes(name: str, wanted: Tensor, got: Tensor) -> str:
    return (
        f"update must have the shapes of the parameters, got an update with other shapes: {list(got.shape)} "
        f"for {name!r} of {list(wanted.shape)}; take it from the same model"
    )


def _twin(optimizer: Optimizer, memo: dict[int, object]) -> Optimizer:
    # Optimizer's own copy keeps only groups and state; LBFGS and wrappers hold more than that.
    attributes = {key: value for key, value in vars(optimizer).items() if key not in _LEFT_BEHIND}
    twin = type(optimizer).__new__(type(optimizer))
    twin.__setstate__(copy.deepcopy(attributes, memo))
    return twin


class _Closure:
    """Writes the gradients of the loss; gives its value, or the losses and their target as they came."""

    def __init__(self, model: nn.Module, optimizer: Optimizer, loss: Loss) -> None:
        self._model, self._loss = model, loss
        self._parameters = [p for group in optimizer.param_groups for p in group["params"] if p.requires_grad]
        self.gave_scalar = False

    def __call__(self) -> Any:
        self.gave_scalar = False
        with frozen():  # the step is only tried: the loss is not of the copy and has to keep its state
            given = self._loss(self._model)
        is_pair = isinstance(given, tuple)
        value = _checked(_mean(*given) if isinstance(given, tuple) else given)
        # not backward(): a loss of the wrong model must not touch that model's gradients
        found = torch.autograd.grad(value, self._parameters, retain_graph=is_pair, allow_unused=True)
        if all(gradient is None for gradient in found):
            raise InputError(
                "loss must be computed from the model it is given, got one that no parameter of the "
                "optimiser reaches; use the argument of the function, not the original model"
            )
        for parameter, gradient in zip(self._parameters, found, strict=True):
            parameter.grad = gradient
        self.gave_scalar = not is_pair
        return given if is_pair else float(value.detach())


def _step(optimizer: Optimizer, closure: _Closure) -> None:
    try:
        optimizer.step(closure)
    except InputError as error:
        if not closure.gave_scalar:
            raise
        raise InputError(
            f"loss must return what {type(optimizer).__name__} asks of a closure, got a scalar ({error}); "
            'return (losses [N], target [N]) with reduction="none"'
        ) from error


def _mean(losses: object, target: object = None, *rest: object) -> object:
    if isinstance(losses, Tensor) and losses.ndim == 1 and isinstance(target, Tensor) and not rest:
        return losses.mean()
    return losses, target, *rest


def _checked(value: object) -> Tensor:
    if not isinstance(value, Tensor) or value.numel() != 1:
        got = list(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise InputError(
            f"loss must return a scalar tensor, got {got}; take the mean over the batch, or return "
            "(losses [N], target [N]) where the optimiser asks for them"
        )
    if not value.isfinite():
        raise InputError(f"loss must be finite, got {value.item()}; check the batch and the weights")
    if not value.requires_grad:
        raise InputError(f"loss must carry a gradient, got a constant {value.item():.4g}; do not detach it")
    return value


@contextmanager
def _random_states_kept(model: nn.Module) -> Iterator[None]:
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 (augmentations may draw from it)
    devices = {p.get_device() for p in model.parameters() if p.is_cuda}
    with torch.random.fork_rng(sorted(devices)):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)  # noqa: NPY002


def _aligned(gradients: Gradients, update: Update, group: str) -> Alignment:
    names = gradients.groups.groups[group]
    missing = [name for name in names if name not in update.delta]
    if missing:
        raise InputError(
            f"update must cover every parameter of {group!r}, got none for {missing[0]!r}; "
            "take it from the model that was measured"
        )
    for name in names:
        rows = gradients.rows.get(name)
        if rows is not None and rows.shape[1] != update.delta[name].numel():
            raise InputError(_other_shapes(name, rows[0], update.delta[name]))
    products = gradients.dot(update.delta, group)
    norms = np.sqrt(np.diagonal(gradients.gram(group))) * update.norm(names)
    cosine = np.clip(products / np.where(norms > 0, norms, np.nan), -1.0, 1.0)
    return Alignment(group, cosine, np.where(gradients.counts > 0, -products, np.nan))


def _changes(model: nn.Module, update: Update) -> list[tuple[nn.Parameter, Tensor]]:
    parameters = dict(model.named_parameters(remove_duplicate=False))
    buffers = {name for name, _ in model.named_buffers(remove_duplicate=False)}
    found: dict[int, tuple[nn.Parameter, Tensor]] = {}  # a tied parameter has several names and moves once
    for name, change in update.delta.items():
        if name in parameters:
            if parameters[name].shape != change.shape:
                raise InputError(_other_shapes(name, parameters[name], change))
            found[id(parameters[name])] = (parameters[name], change)
        elif name not in buffers:
            known = nearest(name, parameters)
            raise InputError(f"update must name parameters of the model, got {name!r}; {known}")
    return list(found.values())
