"""Sharpness-aware minimisation."""

import math
import warnings
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grads_with_norm_, get_total_norm
from torch.optim import Optimizer

from tailgrad.checks import InputError, in_range
from tailgrad.optim.base_optimizer import check_base
from tailgrad.optim.gradient_lists import Gradients
from tailgrad.optim.logit_width import widths
from tailgrad.optim.sharpness_closures import Closure, listed
from tailgrad.optim.sharpness_rule import PlainRule, SharpnessRule
from tailgrad.optim.sharpness_sweeps import Sweeps
from tailgrad.settings import Shown


class SAM(Shown, Optimizer):
    """``u = grad L(w + eps)``, ``eps = rho g / |g|``, ``g = grad L(w)``; then ``base_optimizer`` steps at w.

    ``rule`` replaces this by another member of the family; ``AsymmetricSAM`` chooses one by name. The norm
    is over all parameters of ``base_optimizer`` jointly. With ``rho = 0`` a step is the base optimiser's,
    bit for bit, in one pass (for ``ImbSAM`` its doubled tail loss stays).

    Passes after the first repeat its random numbers (dropout masks, augmentation by torch's generators),
    move no buffer of ``model`` (BatchNorm normalises with the batch, its running statistics stay) and no
    loss that asks ``may_update``. Afterwards the weights are put back bit for bit from a copy.

    Several closures accumulate: two sweeps over all of them, every example counting the same. With several
    processes examples and gradients are merged over all of them; give the plain module here and call it in
    the closure, not the DDP wrapper. ``.grad`` is overwritten and holds what the base optimiser was given.

    Mixed precision: autocast in the closure. With float16 give a ``scaler``: gradients are unscaled before
    the norm, and each step of this optimiser does its ``step`` and ``update``. A step whose gradient is not
    finite is not taken, and is counted in ``skipped``; the first whose loss is not finite warns. With
    ``torch.compile``, rules with two backward passes over one forward pass need
    ``torch._functorch.config.donated_buffer = False``.

    ``param_groups``, ``state`` and ``state_dict`` are the base optimiser's; a rule with a memory adds its own
    to the last of them under ``"combiner"``, where checkpoints keep what is no state of a parameter.
    ``rho`` may be set between steps.

    Args:
        model: the network, or a ``ModuleList`` of all modules whose buffers a forward pass changes.
        base_optimizer: built on all parameters to train.
        rho: radius in weight space, at least 0.
        rule: which gradients are taken where; None is SAM itself.
        max_norm: longest gradient handed to the base optimiser; eps is not clipped. None does not clip.
        scaler: of float16 losses.

    Raises:
        InputError: an argument is of another kind or outside its range; in the first step, counts of another
            number of classes than the model has logits.

    Source: Foret et al., "Sharpness-Aware Minimization" (ICLR 2021, arXiv 2010.01412), algorithm 1,
    p = 2; 1e-12 is added to the norm. Frozen statistics and repeated random numbers are ours.

    Example:
        >>> net = nn.Linear(2, 3)
        >>> x, y = torch.randn(6, 2), torch.tensor([0, 0, 0, 1, 1, 2])
        >>> optimizer = SAM(net, torch.optim.SGD(net.parameters(), lr=0.1), rho=0.05)
        >>> loss = optimizer.step(lambda: (nn.functional.cross_entropy(net(x), y, reduction="none"), y))
        >>> loss.shape
        torch.Size([])
    """

    def __init__(
        self,
        model: nn.Module,
        base_optimizer: Optimizer,
        rho: float = 0.05,
        *,
        rule: SharpnessRule | None = None,
        max_norm: float | None = None,
        scaler: GradScaler | None = None,
    ) -> None:
        _check_kinds(model, base_optimizer, rule)
        super().__init__(base_optimizer.param_groups, base_optimizer.defaults)
        self.model, self.base_optimizer = model, base_optimizer
        self.rho = in_range("rho", rho, 0)
        self.rule = PlainRule() if rule is None else rule
        self.max_norm = None if max_norm is None else in_range("max_norm", max_norm, 0, exclusive=True)
        self.scaler = scaler
        self.skipped = self._steps = 0
        self._is_checked = self._has_warned = False
        self._share_state()

    def step(self, closure: Closure | Iterable[Closure] | None = None) -> Tensor:  # type: ignore[override]  # wider in torch
        """One update; returns the detached mean loss at the weights of this process's examples.

        Args:
            closure: runs the forward pass and returns (one loss an example [N], target [N]) without calling
                backward; or several of them, whose examples make one batch. Each is called again at the
                perturbed weights and has to run the same examples then.

        Raises:
            InputError: there is no closure, or what it returns does not fit.
        """
        closures, rho = listed(closure), in_range("rho", self.rho, 0)
        self.zero_grad()
        trained = [p for group in self.param_groups for p in group["params"] if p.requires_grad]
        scale = 1.0 if self.scaler is None else _scale_of(self.scaler, trained[0].device)
        sweeps = Sweeps(self.model, trained, closures, num_classes=self.rule.num_classes, scale=scale)
        for parameter, value in zip(trained, self._gradient(sweeps, rho), strict=True):
            parameter.grad = value
        self._update(trained, scale, sweeps.loss)
        return sweeps.loss

    def state_dict(self) -> dict[str, Any]:
        """The base optimiser's state, and that of the rule where it has one."""
        memory = self.rule.state_dict()
        return self.base_optimizer.state_dict() | ({"combiner": memory} if memory else {})

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load what ``state_dict`` of this or of a bare base optimiser gave."""
        self.base_optimizer.load_state_dict({k: v for k, v in state_dict.items() if k != "combiner"})
        self._share_state()
        if state_dict.get("combiner"):
            self.rule.load_state_dict(state_dict["combiner"])

    def _gradient(self, sweeps: Sweeps, rho: float) -> Gradients:
        with torch.enable_grad():
            if self._is_checked or self.rule.num_classes is None:
                return self._ruled(sweeps, rho)
            with widths(self.model, sweeps.parameters) as found:
                gradient = self._ruled(sweeps, rho)
        _check_width(found, self.rule.num_classes)
        self._is_checked = True
        return gradient

    def _ruled(self, sweeps: Sweeps, rho: float) -> Gradients:
        if rho > 0:
            return self.rule.gradient(sweeps, rho)
        return sweeps.at_weights(self.rule.weights_at_rest).gradients[0]

    def _update(self, trained: list[Tensor], scale: float, loss: Tensor) -> None:
        gradients = [p.grad for p in trained if p.grad is not None]
        norm = get_total_norm(gradients)
        finite = math.isfinite(norm)
        self._steps += 1
        self.skipped += not finite
        if finite and self.max_norm is not None:
            clip_grads_with_norm_(trained, self.max_norm, norm)
        if self.scaler is not None and self.scaler.is_enabled():
            _scaled_step(self.scaler, self.base_optimizer, gradients, scale)
        elif finite:
            self.base_optimizer.step()
        if not finite:
            self._warn_of(float(loss))

    def _warn_of(self, loss: float) -> None:
        """Say that a step was not taken: always of gradients alone, and of the first such loss."""
        is_scaled = self.scaler is not None and self.scaler.is_enabled()
        text = ""
        if math.isfinite(loss) and not is_scaled:  # a scaler finds its factor by overflowing
            text = (
                f"the gradient is not finite although the loss is ({loss:g}): the weights stay, "
                f"{self.skipped} steps skipped so far; lower the learning rate or rho"
            )
        elif not (math.isfinite(loss) or self._has_warned):
            self._has_warned = True
            text = (
                f"the loss is {loss} in step {self._steps}: the weights stay, and further such steps are "
                "only counted, in skipped; look at the examples of this batch, or lower the learning rate"
            )
        if text:
            warnings.warn(text, RuntimeWarning, stacklevel=5)

    def _share_state(self) -> None:
        self.param_groups = self.base_optimizer.param_groups
        self.state = self.base_optimizer.state

    def __repr__(self) -> str:
        return f"{super().__repr__()} over\n{self.base_optimizer!r}"

    def __getstate__(self) -> dict[str, Any]:
        own = ["model", "base_optimizer", "rho", "rule", "max_norm", "scaler", "skipped"]
        own += ["_built_with", "_steps", "_is_checked", "_has_warned"]
        return super().__getstate__() | {name: self.__dict__[name] for name in own}


def _scale_of(scaler: GradScaler, device: torch.device) -> float:
    return float(scaler.scale(torch.ones((), device=device)))  # unlike get_scale this readies a new scaler


def _scaled_step(
    scaler: GradScaler, base_optimizer: Optimizer, gradients: list[Tensor], scale: float
) -> None:
    """Let the scaler see the gradients, so that it skips the step and lowers its scale where need be."""
    for gradient in gradients:
        gradient.mul_(scale)
    scaler.step(base_optimizer)
    scaler.update()


def _check_width(found: set[int], num_classes: int) -> None:
    width = next(iter(found)) if len(found) == 1 else 0
    if width and width != num_classes:
        raise InputError(
            f"class_counts must hold one count for each of the model's {width} logits, got {num_classes}; "
            "count the training labels by class (or give a ModuleList, if the model returns no logits)"
        )


def _check_kinds(model: object, base_optimizer: Optimizer, rule: object) -> None:
    check_base(base_optimizer)
    if not isinstance(model, nn.Module) or isinstance(model, DistributedDataParallel):
        raise InputError(
            f"model must be a plain module, got {type(model).__name__}; pass the module itself (of a DDP "
            "wrapper its .module) and call it in the closure"
        )
    if not isinstance(rule, SharpnessRule | None):
        raise InputError(
            f"rule must be a built rule, got {rule!r}; pass for example FocalSAM(class_counts), or use "
            "AsymmetricSAM to choose by name"
        )
    trained = {id(p) for group in base_optimizer.param_groups for p in group["params"]}
    if not trained & {id(p) for p in model.parameters()}:
        raise InputError(
            f"base_optimizer must train parameters of model, got {len(trained)} of which none is; build both "
            "from the same model"
        )
