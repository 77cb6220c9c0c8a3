"""Class contributions to the gradient, watched while training runs."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import numpy as np
from torch import Tensor, nn

from tailgrad.checks import InputError
from tailgrad.distributed import is_spread
from tailgrad.interference.contributions import LogitPull
from tailgrad.interference.descent import InitialDrop
from tailgrad.interference.due import Due
from tailgrad.interference.ear import Ear
from tailgrad.interference.groups import Selection
from tailgrad.interference.measurement import Measurement
from tailgrad.interference.monitor_drops import find_drops
from tailgrad.interference.monitor_record import Record, make_record
from tailgrad.interference.monitor_scale import Scaler, scale_of
from tailgrad.interference.monitor_target import check_classes, check_target
from tailgrad.interference.monitor_words import monitor_words, nothing_words, reason_against
from tailgrad.interference.scope import Scope, find_scope, is_coupled, try_classes
from tailgrad.interference.splittable import Run
from tailgrad.interference.trees import Tree
from tailgrad.interference.unwrap import is_compiled, unwrap
from tailgrad.settings import Shown

_COMPILED = "Steps that are measured run uncompiled, so that rounding and dropout differ there."
_TRUSTED = 10  # measurements after which contributions are compared with gradients again
_WINDOW = 16  # records in which a drop that goes on now is looked for


class Monitor(Shown):
    """Measures, every so many steps, what each class contributes to the update of a network in training.

    ``k_c = sum_{i: y_i = c} dL/dtheta through example i``: the gradient of the batch's loss, split by the
    class of the examples through which it came, in the one backward pass that trains. ``sum_c k_c`` is the
    gradient. In training mode BatchNorm couples the examples, so this is not the gradient of class c's loss.

    It reads and never changes: weights, buffers and random states are bit for bit those of training without
    it. A step that is not due costs a comparison. A due forward pass whose batch holds classes not yet tried
    also runs 7 examples (28 at most) in evaluation mode, to see which parameters can be split by example; the
    others (recurrent layers, ``nn.MultiheadAttention``) take one masked backward pass a class, are named in
    ``masked``, and get the gradient of class c's loss: where BatchNorm couples the examples these are two
    different decompositions, and the record's notes say so. At the first measurement every parameter's
    contributions are compared with its gradient; one that does not add up goes to the masked passes, then to
    ``unknown``, and the measurement is repeated at the next step. Until the
    comparison is made again, at every tenth measurement, the batch's largest class gets what the others leave
    of the gradient, which saves the time of splitting off its part.

    Of an optimiser that differentiates several times in a step (``SAM``), the first pass at the weights is
    measured: passes inside ``losses.frozen()``, or after the weights have moved, are not. The update is the
    one applied in the end. Class weights of that pass (``SAM`` by class) are in ``norm`` and ``product``.
    Loss terms that do not come through the logits (weight decay inside the loss) make a parameter unknown;
    where every one is, records hold losses and logit gradients only. Under ``torch.compile`` a due step runs
    uncompiled, so that rounding and dropout differ there. With several processes each passes its own labels,
    and figures are those of all.

    Args:
        model: returns logits [N, K], ``.logits``, or a tuple that starts with them; wrappers are taken off.
        classes: K names, or K.
        parameters: ``"backbone"``, ``"head"``, ``"all"``, a glob over names, or a predicate.
        every: steps between two measurements, at least 1.
        seconds: seconds between two measurements, in place of ``every``; one process only.
        log: given every record.
        scaler: of mixed precision, to undo its factor; steps that it skips are left out.

    Raises:
        InputError: arguments out of range; a model whose layers cannot be listened to.

    Source: ours; explained in docs/conflict.md.

    Example:
        >>> net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
        >>> import torch
        >>> optimizer = torch.optim.SGD(net.parameters(), 0.1)
        >>> monitor = Monitor(net, ["a", "b", "c"], every=1)
        >>> inputs, target = torch.rand(9, 4), torch.arange(9) % 3
        >>> with monitor.watch(target):
        ...     nn.functional.cross_entropy(net(inputs), target).backward()
        ...     optimizer.step()
        >>> monitor.records[0]["step"], monitor.records[0]["count"]
        (1, {'a': 3.0, 'b': 3.0, 'c': 3.0})
    """

    def __init__(
        self,
        model: nn.Module,
        classes: int | Sequence[str],
        *,
        parameters: Selection = "backbone",
        every: int = 20,
        seconds: float | None = None,
        log: Callable[[Record], None] | None = None,
        scaler: Scaler | Callable[[], float] | None = None,
    ) -> None:
        self.class_names = check_classes(classes)
        self.model = unwrap(model)
        if not any(True for _ in self.model.parameters()):
            raise InputError(
                f"model must have parameters, got {type(self.model).__name__} without any; build it first"
            )
        self.notes = (_COMPILED,) if is_compiled(model) or is_compiled(self.model) else ()
        self.records: list[Record] = []
        self.steps = 0
        self.skipped = 0
        self._left_out: Counter[str] = Counter()
        self.pull = LogitPull(np.zeros(len(self.class_names)), np.zeros(len(self.class_names)))
        self._selection, self._due, self._log = parameters, Due(every, seconds), log
        self._scale, self._is_scaled = scale_of(scaler), scaler is not None
        self._scope: Scope | None = None
        self._known: dict[str, Any] | None = None  # of the scope, from an earlier sitting
        self._earlier = 0  # records of earlier sittings that are not among these
        self._measurement: Measurement | None = None
        self._ear: Ear | None = None
        self._is_first = True

    def begin(self, target: Tensor, *, call: tuple[tuple[Any, ...], dict[str, Any]] | None = None) -> None:
        """Say that the forward pass of a (micro-)batch comes next; where a measurement is due, listen to it.

        Micro-batches before one optimiser step add up. A forward pass without a backward pass is dropped by
        the next ``begin``, and so is a step that ended without ``step_done``.

        Args:
            target: class indices [N].
            call: (args, kwargs) of the model's call, where this is said from inside one of its forward
                pre-hooks.

        Raises:
            InputError: the target is not class indices in range; ``seconds`` with several processes.
        """
        is_first, self._is_first = self._is_first, False  # a measurement takes all micro-batches or none
        if self._measurement is None and not (is_first and self._due.now(self.steps)):
            return
        check_target(target, len(self.class_names))
        if self._due.seconds is not None and is_spread():
            raise InputError(
                f"every must be used with several processes, got seconds={self._due.seconds}; they must "
                "agree on the step"
            )
        ear, self._ear = self._ear, None
        if ear is not None:
            ear.close()
        if self._measurement is None or self._measurement.is_void:
            self._measurement = Measurement(len(self.class_names), self._scale)
        self._ear = Ear(self.model, target, self._measurement, self._resolve)
        if call is not None:
            self._ear.enter_now(*call)

    def backward_done(self) -> None:
        """Say that the backward pass is over; what happens to the graph later is not listened to."""
        self._close_ear()

    def step_done(self) -> None:
        """Say that the optimiser step is over; writes the record if one is due.

        Raises:
            InputError: the first measurement saw no forward pass of the model.
        """
        measurement = self._measurement
        self.steps, self._is_first = self.steps + 1, True
        if measurement is None:
            return
        try:
            self._close_ear()
            self._measurement = None
            self._finish(measurement)
        except BaseException:
            self.cancel()
            raise

    @property
    def has_heard(self) -> bool:
        """Whether a measurement runs and has heard a backward pass."""
        return self._measurement is not None and self._measurement.has_backward

    def cancel(self) -> None:
        """Give up the measurement that runs, if one does; nothing of it stays with the model."""
        ear, self._ear, self._measurement, self._is_first = self._ear, None, None, True
        if ear is not None:
            ear.close()

    @contextmanager
    def watch(self, target: Tensor) -> Iterator[None]:
        """Forward pass, backward pass and optimiser step of one batch go inside.

        Raises:
            InputError: as ``begin`` and ``step_done``.
        """
        self.begin(target)
        try:
            yield
        except BaseException:
            self.cancel()
            raise
        self.step_done()

    def state(self) -> dict[str, Any]:
        """What a monitor of the same network needs to go on where this one stands, as JSON can hold it.

        Of the records, the last ones, in which a drop may go on.
        """
        return {
            "steps": self.steps,
            "skipped": self.skipped,
            "due": self._due.step,
            "pull": [self.pull.own.tolist(), self.pull.others.tolist()],
            "earlier": self._earlier + len(self.records[:-_WINDOW]),
            "records": self.records[-_WINDOW:],
            "scope": self._known if self._scope is None else self._scope.state(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on where a monitor of the same network stood (``state``)."""
        self.steps, self.skipped, self._due.step = state["steps"], state["skipped"], state["due"]
        self.pull = LogitPull(*(np.array(side) for side in state["pull"]))
        self.records, self._earlier = list(state["records"]), state["earlier"]
        self._known, self._scope = state["scope"], None

    def drops(self, until: int | None = None, shortest: int = 3) -> list[InitialDrop]:
        """Stretches of records in which updates opposed a class while its loss rose.

        Args:
            until: last step that counts as early; by default all are looked at.
            shortest: records a stretch must have, at least 1.

        Raises:
            InputError: ``shortest`` below 1.
        """
        return find_drops(self.records, self.class_names, until=until, shortest=shortest)

    def summary(self) -> str:
        """What was seen, in plain words."""
        if not self.records:
            return "\n".join([nothing_words(self.steps, self._left_out), *self.notes])
        said = monitor_words(self.records, self.class_names, self.pull, self.drops())
        return "\n".join([said, *self.records[-1]["notes"]])

    def _close_ear(self) -> None:
        ear, self._ear = self._ear, None
        if ear is None:
            return
        ear.close()
        if ear.has_heard and not ear.has_gradients and self._measurement is not None:
            self._measurement.is_broken = True

    def _resolve(self, run: Run, inputs: Tree, target: Tensor) -> Scope:
        if self._scope is None:
            self._scope = find_scope(self.model, run, inputs, target, self._selection)
            self._scope.load_state(self._known or {})
        elif try_classes(self.model, run, inputs, target, self._scope):
            assert self._measurement is not None
            # micro-batches before this one were split
            self._measurement.is_broken |= self._measurement.tally is not None
        self._scope.is_coupled = is_coupled(self.model)
        return self._scope

    def _finish(self, measurement: Measurement) -> None:
        scope = self._scope
        if scope is None or measurement.tally is None:
            self._missed()
            return
        is_broken, wrong = measurement.wrong(scope)
        found = measurement.found()
        if reason := reason_against(is_broken, found, self._is_scaled):
            self.skipped += 1
            self._left_out[reason] += 1
            return
        if wrong:
            self._left_out["contributions did not add up to the gradient, and were to be measured anew"] += 1
            scope.demote(wrong, "its contributions did not add up to its gradient")
            return
        scope.verified |= measurement.tally.checked & scope.measured.keys()
        if (self._earlier + len(self.records) + 1) % _TRUSTED == 0:
            scope.verified.clear()  # a loss may have changed since
        self._due.done(self.steps - 1)
        self._keep(make_record(found, scope, self.class_names, self.steps), found.pull)

    def _keep(self, record: Record, pull: LogitPull) -> None:
        self.pull += pull
        self.records.append(record)
        ratio = dict(zip(self.class_names, self.pull.ratio, strict=True))
        record["pull"]["ratio"] = {name: None if r != r else float(r) for name, r in ratio.items()}
        recent = find_drops(self.records[-_WINDOW:], self.class_names)
        record["alarms"] = [asdict(drop) for drop in recent if drop.last == record["step"]]
        record["notes"] = [*self.notes, *record["notes"]]
        if self._log is not None:
            self._log(record)

    def _missed(self) -> None:
        self.skipped += 1
        if not self.records:
            raise InputError(
                f"the step must call the model given to Monitor, got no forward pass of "
                f"{type(self.model).__name__} with gradients between begin and step_done; pass the module "
                "whose forward returns the logits"
            )
