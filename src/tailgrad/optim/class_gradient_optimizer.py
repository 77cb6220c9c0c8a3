"""An optimiser that steps along a combination of class gradients."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from tailgrad.checks import InputError, one_of
from tailgrad.distributed import sum_over_ranks
from tailgrad.optim.base_optimizer import check_base
from tailgrad.optim.class_rows import PRIORS, class_rows, same_on_ranks
from tailgrad.optim.combiner import Combiner
from tailgrad.optim.logit_width import widths
from tailgrad.settings import Shown

Closure = Callable[[], tuple[Tensor, Tensor]]


class ClassGradientOptimizer(Shown, Optimizer):
    """``u = combine(g_1 ... g_m)`` in place of the gradient, then a step of ``base_optimizer``.

    ``g_c`` is the gradient of the mean loss of class c over the batch, all from one shared forward pass:
    BatchNorm uses the statistics of the whole batch and so couples the classes. Classes absent from the
    batch take no part. A step costs one forward and m backward passes and holds m gradients; with
    several processes classes and gradients are merged over all of them (pass the plain module, not the
    DDP wrapper).

    ``prior="uniform"`` combines the ``g_c`` themselves: every class present counts the same, whatever its
    share of the batch, which corrects the class prior as balanced class weights do; do not correct it twice.
    ``prior="batch"`` combines ``m (n_c / N) g_c``, whose mean is the plain gradient of the batch's mean
    loss. With a combiner of scale ``"mean"`` the step of agreeing classes is that of the mean of the rows,
    so the learning rate of ordinary training fits. Parameters of ``base_optimizer`` outside ``combined``
    get that mean: ordinary training.

    Learning-rate schedulers, ``param_groups``, ``zero_grad`` and ``state_dict`` work as on the base
    optimiser, whose ``state`` and ``param_groups`` these are. Every ``.grad`` is overwritten, nothing
    accumulates. A combined parameter that no loss reaches gets zeros. To clip gradients, use
    ``base_optimizer.register_step_pre_hook``. Mixed precision: bfloat16 autocast around the forward pass
    in the closure; gradient scalers are not needed and not used.

    Args:
        combined: module or parameters whose class gradients are combined, often the backbone.
        base_optimizer: built on all parameters to train.
        combiner: a ``Combiner``, or any function from rows [m, P] to [P], such as TorchJD's aggregators.
        prior: ``"uniform"`` or ``"batch"``.

    Raises:
        InputError: no combined parameter belongs to ``base_optimizer``, or an argument is of another kind; in
            a step, a class that the network, where it is given whole, has no logit for.

    Example:
        >>> net = nn.Linear(2, 3)
        >>> x, y = torch.randn(6, 2), torch.tensor([0, 0, 0, 1, 1, 2])
        >>> from tailgrad.optim import PCGrad
        >>> optimizer = ClassGradientOptimizer(net, torch.optim.SGD(net.parameters(), lr=0.1), PCGrad())
        >>> loss = optimizer.step(lambda: (nn.functional.cross_entropy(net(x), y, reduction="none"), y))
        >>> loss.shape
        torch.Size([])
    """

    def __init__(
        self,
        combined: nn.Module | Iterable[Tensor],
        base_optimizer: Optimizer,
        combiner: Callable[[Tensor], Tensor],
        *,
        prior: str = "uniform",
    ) -> None:
        _check_kinds(base_optimizer, combiner)
        self.prior = one_of("prior", prior, PRIORS)
        super().__init__(base_optimizer.param_groups, base_optimizer.defaults)
        self.base_optimizer, self.combiner = base_optimizer, combiner
        self._share_state()
        self._network = combined if isinstance(combined, nn.Module) else None
        self._width: int | None = None
        wanted = {id(p) for p in (combined.parameters() if isinstance(combined, nn.Module) else combined)}
        self._chosen = [p for p in self._all() if id(p) in wanted]
        if not self._chosen:
            raise InputError(
                f"combined must hold parameters of base_optimizer, got {len(wanted)} of which none is; "
                "build both from the same model"
            )

    def step(self, closure: Closure | None = None) -> Tensor:  # type: ignore[override]  # wider in torch
        """One update; returns the detached mean loss of this process's batch.

        Args:
            closure: runs the forward pass and returns (one loss an example [N], class indices [N]); it does
                not call backward.

        Raises:
            InputError: there is no closure, or what it returns does not fit (see ``masked_gradients``).
        """
        if not callable(closure):
            came = "None" if closure is None else type(closure).__name__
            raise InputError(
                f"closure must be a function that returns (losses [N], target [N]), got {came}; call "
                "step(lambda: (losses, target))"
            )
        with torch.enable_grad():
            losses, target = self._ran(closure)
            self._write_gradients(losses, target)
        self.base_optimizer.step()
        return losses.detach().mean()

    def state_dict(self) -> dict[str, Any]:
        """The base optimiser's state, and the combiner's under ``"combiner"``."""
        memory = self.combiner.state_dict() if isinstance(self.combiner, Combiner) else {}
        return self.base_optimizer.state_dict() | {"combiner": memory}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load what ``state_dict`` gave; the state of a bare base optimiser fits too."""
        self.base_optimizer.load_state_dict({k: v for k, v in state_dict.items() if k != "combiner"})
        self._share_state()
        if isinstance(self.combiner, Combiner) and state_dict.get("combiner"):
            self.combiner.load_state_dict(state_dict["combiner"])

    def _ran(self, closure: Closure) -> tuple[Tensor, Tensor]:
        network = self._network
        if network is None or self._width is not None:
            return _pair(closure())
        with widths(network, self._all()) as found:
            pair = _pair(closure())
        self._width = next(iter(found)) if len(found) == 1 else 0
        return pair

    def _write_gradients(self, losses: Tensor, target: Tensor) -> None:
        chosen = self._combined
        combined = [p for p in self._all() if p.requires_grad and id(p) in chosen]
        rest = [p for p in self._all() if p.requires_grad and id(p) not in chosen]
        found = class_rows(losses, target, combined, retain_graph=bool(rest))
        _check_classes(found.classes, self._width or 0)
        if isinstance(self.combiner, Combiner):
            self.combiner.observe(found.classes, found.losses)
        rows = found.rows.mul_(found.factors(self.prior).to(found.rows)[:, None])
        direction = same_on_ranks(_checked(self.combiner(rows), rows.shape[1]))
        for parameter, part in zip(
            combined, torch.split(direction, [p.numel() for p in combined]), strict=True
        ):
            parameter.grad = part.view_as(parameter).to(parameter.dtype)
        _write_plain(rest, losses, found.example_weights(target, self.prior))

    @property
    def _combined(self) -> frozenset[int]:
        return frozenset(map(id, self._chosen))  # made anew, since a copy has other parameters

    def _all(self) -> list[Tensor]:
        return [p for group in self.param_groups for p in group["params"]]

    def _share_state(self) -> None:
        self.param_groups = self.base_optimizer.param_groups
        self.state = self.base_optimizer.state

    def __repr__(self) -> str:
        return f"{super().__repr__()} over\n{self.base_optimizer!r}"

    def __getstate__(self) -> dict[str, Any]:
        own = ("base_optimizer", "combiner", "prior", "_chosen", "_built_with", "_network", "_width")
        return super().__getstate__() | {name: self.__dict__[name] for name in own}


def _write_plain(parameters: list[Tensor], losses: Tensor, weights: Tensor) -> None:
    """Set ``.grad`` to the gradient of ``sum_i weights_i loss_i``, None where no loss reaches."""
    if not parameters:
        return
    gradients = torch.autograd.grad(losses, parameters, weights.to(losses), allow_unused=True)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = None if gradient is None else sum_over_ranks(gradient)


def _check_kinds(base_optimizer: object, combiner: object) -> None:
    check_base(base_optimizer)
    if isinstance(combiner, type) or not callable(combiner):
        raise InputError(
            f"combiner must be a built Combiner or a function of rows, got {combiner!r}; pass for example "
            "PCGrad()"
        )


def _check_classes(classes: Tensor, width: int) -> None:
    if width and int(classes[-1]) >= width:
        raise InputError(
            f"target must be below the {width} logits of the model, got {int(classes[-1])}; number the "
            "classes from 0 (or give list(model.parameters()), if the target names something else)"
        )


def _checked(direction: Tensor, length: int) -> Tensor:
    if direction.shape != (length,):
        raise InputError(
            f"combiner must return [{length}] numbers, got {list(direction.shape)}; combine the rows into one"
        )
    return direction.detach()


def _pair(result: object) -> tuple[Tensor, Tensor]:
    if isinstance(result, tuple) and len(result) == 2 and all(isinstance(r, Tensor) for r in result):
        return result
    raise InputError(
        f"closure must return (losses [N], target [N]), got {type(result).__name__}; give one loss an "
        "example and the class indices (under Lightning, with automatic_optimization = False)"
    )
