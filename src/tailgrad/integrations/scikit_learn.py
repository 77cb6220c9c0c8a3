"""A scikit-learn classifier of feature vectors, with the losses, samplers and heads of this library."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any, Self

import numpy as np
import torch
from numpy.random import RandomState
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from tailgrad.checks import InputError, in_range, one_of
from tailgrad.integrations.vector_parts import AUTO, Asked, ClassWeight, make_parts
from tailgrad.integrations.vector_training import OPTIMIZERS, Course, Examples, seeded, train
from tailgrad.interference import Interference, measure
from tailgrad.models import create_model
from tailgrad.models.create_model import TABLE_BACKBONES
from tailgrad.optim.asymmetric_sam import VARIANTS
from tailgrad.posthoc import TemperatureScaling
from tailgrad.samplers.whole_number import whole

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]
HIDDEN = (128, 128)
_ROWS = 4096  # a pass of prediction


class TailgradClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """A neural network for imbalanced classes, as an estimator of scikit-learn.

    With ``loss="auto"`` balanced softmax takes the class prior out from an imbalance factor of 1.5 on, unless
    ``class_weight`` or ``sampler`` do; below, and beside these, it is cross-entropy. One prior corrected
    twice is refused. ``predict_proba`` is then for classes that are equally frequent (``ledger_.prior`` says
    what is left of the prior); calibrate on data of your own deployment where that matters.

    Training draws from ``random_state`` alone and leaves PyTorch's generators as they are. Prediction runs in
    float64, so that a row's result does not depend on the rows beside it (float32 on devices without it).

    Args:
        loss: ``"auto"`` or a loss that takes logits and one class an example, by its name in recipes.
        loss_options: of a named loss, by name; a ``defer`` below 1 is a share of the epochs.
        sampler: a sampler by its name in recipes; None shuffles.
        class_weight: None, ``"balanced"``, ``"effective"`` or weights by label, as in scikit-learn.
        network: ``"mlp"``, or ``"table_resnet"`` or ``"ft_transformer"`` (extra ``tables``).
        network_options: of the network, by name.
        hidden: widths of the layers of an ``mlp``; None is two of 128.
        head: a head by its name; ``"auto"`` is the one that the loss needs, else ``"linear"``.
        optimizer: ``"adamw"``, ``"sgd"`` (momentum 0.9), ``"sam"`` or another variant of ``AsymmetricSAM``.
        rho: radius of SAM; None is the variant's published one.
        epochs: most epochs, at least 1.
        batch_size: at least 2.
        learning_rate: above 0.
        weight_decay: at least 0.
        validation_fraction: of the rows of each class, held out where early stopping or the temperature
            needs some, above 0 and below 1; a class of one row gives none.
        early_stopping: keep the weights of the epoch with the smallest held-out loss.
        patience: epochs without a smaller one after which to stop, at least 1.
        temperature: divide logits by the temperature that fits the held-out rows.
        standardize: subtract means and divide by deviations of the training rows.
        allow_double_correction: accept a prior that is corrected twice.
        device: of PyTorch, such as ``"cuda"``.
        random_state: an integer, a ``RandomState`` or None.
        verbose: print one line an epoch.

    Attributes:
        classes_: labels [K].
        class_counts_: rows of each class in ``y`` [K].
        loss_: name of the loss that ``"auto"`` chose, or that was given.
        ledger_: what corrects the class prior, and what prior is left.
        module_: the fitted network, in evaluation mode, from standardised vectors to logits.
        loss_curve_: mean training loss of each epoch.
        validation_curve_: held-out loss after each epoch; empty without held-out rows.
        n_iter_: epochs that were trained.
        best_epoch_: the epoch whose weights are kept, from 1.
        temperature_: the divisor of the logits; 1 without ``temperature``.
        n_features_in_: columns of X.
        feature_names_in_: their names, where X had text names.

    Raises:
        InputError: in ``fit``: an argument is unknown or outside its range, a prior is corrected twice, or
            there are not two classes.

    Weights of single rows are not supported: ``fit`` does not take ``sample_weight``.

    Source: the protocol of scikit-learn; the network and the losses name theirs.

    Example:
        >>> draw = np.random.default_rng(0)
        >>> x = np.r_[draw.normal(0, 1, (90, 2)), draw.normal(3, 1, (10, 2))]
        >>> model = TailgradClassifier(epochs=20, random_state=0).fit(x, np.repeat(["no", "yes"], [90, 10]))
        >>> model.predict([[3.0, 3.0]]), model.ledger_.prior.round(3).tolist()
        (array(['yes'], dtype='<U3'), [0.5, 0.5])
    """

    def __init__(
        self,
        loss: str = AUTO,
        *,
        loss_options: Mapping[str, Any] | None = None,
        sampler: str | None = None,
        class_weight: ClassWeight = None,
        network: str = "mlp",
        network_options: Mapping[str, Any] | None = None,
        hidden: Sequence[int] | None = None,
        head: str = AUTO,
        optimizer: str = "adamw",
        rho: float | None = None,
        epochs: int = 100,
        batch_size: int = 64,
        learning_rate: float = 1e-3,
        weight_decay: float = 1e-4,
        validation_fraction: float = 0.1,
        early_stopping: bool = False,
        patience: int = 10,
        temperature: bool = False,
        standardize: bool = True,
        allow_double_correction: bool = False,
        device: str = "cpu",
        random_state: int | RandomState | None = None,
        verbose: bool = False,
    ) -> None:
        self.loss = loss
        self.loss_options = loss_options
        self.sampler = sampler
        self.class_weight = class_weight
        self.network = network
        self.network_options = network_options
        self.hidden = hidden
        self.head = head
        self.optimizer = optimizer
        self.rho = rho
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.validation_fraction = validation_fraction
        self.early_stopping = early_stopping
        self.patience = patience
        self.temperature = temperature
        self.standardize = standardize
        self.allow_double_correction = allow_double_correction
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Train on features [N, F] and labels [N]."""
        x, labels = validate_data(self, X, y, dtype=np.float64, ensure_min_samples=2)
        target = self._take_classes(labels)
        device = self._check()
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        held = self._held_out(target, seed)
        kept = np.setdiff1d(np.arange(len(x)), held)
        self._take_scale(x[kept])
        with seeded(seed, device):
            self._train(
                self._examples(x, target, kept, device), self._examples(x, target, held, device), seed
            )
        if device.type != "mps":
            self.module_.double()
        self.temperature_ = self._fitted_temperature(x[held], target[held]) if self.temperature else 1.0
        return self

    def decision_function(self, X: ArrayLike) -> Floats:
        """Logits [N, K]; with two classes the logit of the second less that of the first [N]."""
        logits = self._logits(self._checked(X))
        return logits[:, 1] - logits[:, 0] if len(self.classes_) == 2 else logits

    def predict_proba(self, X: ArrayLike) -> Floats:
        """Probabilities [N, K] under the class prior ``ledger_.prior``."""
        logits = self._logits(self._checked(X))
        shares = np.exp(logits - logits.max(1, keepdims=True))
        found: Floats = shares / shares.sum(1, keepdims=True)
        return found

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """The most probable class of each row [N]."""
        chosen = self._logits(self._checked(X)).argmax(1)
        found: NDArray[Any] = self.classes_[chosen]
        return found

    def interference(
        self,
        X: ArrayLike,
        y: ArrayLike,
        *,
        parameters: str = "backbone",
        folds: int = 8,
        max_per_class: int | None = None,
        seed: int = 0,
    ) -> Interference:
        """Which classes pull the fitted network in opposing directions on these rows.

        Args:
            X: features [N, F].
            y: labels [N], each one of ``classes_``.
            parameters: ``"backbone"``, ``"head"``, ``"all"`` or a glob over names in ``module_``.
            folds: as for ``tailgrad.measure``.
            max_per_class: the same.
            seed: the same.

        Raises:
            InputError: a label is unknown, or as ``tailgrad.measure``.
        """
        check_is_fitted(self)
        x, labels = validate_data(self, X, y, reset=False, dtype=np.float64)
        target = np.searchsorted(self.classes_, labels).clip(max=len(self.classes_) - 1)
        if (strange := self.classes_[target] != labels).any():
            raise InputError(
                f"y must hold labels that were fitted on, got {labels[strange][0]!s}; the classes are "
                f"{', '.join(map(str, self.classes_[:20]))}"
            )
        vectors, indices = self._scaled(x), torch.from_numpy(target)
        return measure(
            self.module_,
            list(zip(torch.split(vectors, _ROWS), torch.split(indices, _ROWS), strict=True)),
            parameters,
            folds=folds,
            max_per_class=max_per_class,
            class_names=[str(label) for label in self.classes_],
            seed=seed,
        )

    def _take_classes(self, labels: NDArray[Any]) -> Indices:
        check_classification_targets(labels)
        self.classes_, target = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise InputError(
                f"y must hold two classes or more, got 1 class ({self.classes_[0]!s}); add rows of another"
            )
        self.class_counts_ = np.bincount(target)
        return np.asarray(target, np.int64)

    def _check(self) -> torch.device:
        whole("epochs", self.epochs, 1)
        whole("batch_size", self.batch_size, 2)
        whole("patience", self.patience, 1)
        in_range("learning_rate", self.learning_rate, 0, exclusive=True)
        in_range("weight_decay", self.weight_decay, 0)
        in_range("validation_fraction", self.validation_fraction, 0, 1, exclusive=True)
        one_of("optimizer", self.optimizer, OPTIMIZERS)
        one_of("network", self.network, TABLE_BACKBONES)
        if self.rho is not None:
            in_range("rho", self.rho, 0)
        for name in ("loss_options", "network_options"):
            if not isinstance(value := getattr(self, name), Mapping | None):
                raise InputError(f"{name} must be a mapping or None, got {value!r}; write {{'name': value}}")
        if not isinstance(self.hidden, Sequence | np.ndarray | None) or isinstance(self.hidden, str):
            raise InputError(f"hidden must hold widths, got {self.hidden!r}; write (64,) for one layer of 64")
        if self.hidden is not None and self.network != "mlp":
            raise InputError(
                f"hidden must be None for {self.network!r}, got {self.hidden}; give network_options, such as "
                "{'width': 64, 'blocks': 2}"
            )
        return _device(self.device)

    def _held_out(self, target: Indices, seed: int) -> Indices:
        """Positions of the rows that are not trained on, drawn class by class."""
        if not (self.early_stopping or self.temperature):
            return np.empty(0, np.int64)
        draw = np.random.default_rng(seed)
        parts = []
        for label, count in enumerate(self.class_counts_):
            some = min(max(round(self.validation_fraction * count), 1), count - 1)
            parts.append(draw.permutation(np.flatnonzero(target == label))[:some])
        held = np.sort(np.concatenate(parts))
        if not len(held):
            raise InputError(
                "validation_fraction must leave rows to hold out, got classes of one row each; switch early "
                "stopping and temperature off"
            )
        return held

    def _take_scale(self, x: Floats) -> None:
        self.mean_, self.scale_ = np.zeros(x.shape[1]), np.ones(x.shape[1])
        if self.standardize:
            differs = (np.ptp(x, 0) > 0) & ((deviation := x.std(0)) > 0)  # rounding spreads equal numbers
            self.mean_, self.scale_ = x.mean(0), np.where(differs, deviation, 1.0)

    def _train(self, examples: Examples, held_out: Examples, seed: int) -> None:
        target = examples[1].cpu().numpy()
        asked = Asked(
            self.loss, self.loss_options, self.sampler, self.class_weight, self.allow_double_correction
        )
        filled: dict[str, Any] = {"epochs": self.epochs, "batch_size": self.batch_size}
        if self.optimizer in VARIANTS:
            filled |= {"reduction": "none"}
        parts = make_parts(asked, target, self.classes_, filled=filled, seed=seed)
        self.loss_, self.ledger_ = parts.name, parts.ledger
        head = getattr(parts.loss, "head_needed", None) or "linear" if self.head == AUTO else self.head
        options: dict[str, Any] = {"hidden": HIDDEN} if self.network == "mlp" else {}
        options |= {} if self.hidden is None else {"hidden": tuple(self.hidden)}
        options |= {"numbers": examples[0].shape[1], **(self.network_options or {})}
        self.module_ = create_model(self.network, len(self.classes_), head=head, backbone_options=options)
        self.module_.to(examples[0].device)
        parts.loss.to(examples[0].device)
        course = Course(
            self.epochs,
            self.batch_size,
            self.learning_rate,
            self.weight_decay,
            self.optimizer,
            self.rho,
            self.patience if self.early_stopping else None,
            seed,
            print if self.verbose else Course.say,
        )
        curves = train(self.module_, parts, examples, held_out if len(held_out[1]) else None, course)
        self.loss_curve_, self.validation_curve_ = curves.training, curves.validation
        self.n_iter_, self.best_epoch_ = len(curves.training), curves.best_epoch

    def _fitted_temperature(self, x: Floats, target: Indices) -> float:
        self.temperature_ = 1.0
        # Where little is left of the prior, the held-out rows have another one than the probabilities.
        removed = self.ledger_.span < self.ledger_.log_imbalance / 2
        method = TemperatureScaling(balanced=removed)
        method.fit(torch.from_numpy(self._logits(x)), torch.from_numpy(target))
        return float(method.temperature)

    def _checked(self, X: ArrayLike) -> Floats:
        check_is_fitted(self)
        x: Floats = validate_data(self, X, reset=False, dtype=np.float64)
        return x

    def _scaled(self, x: Floats) -> Tensor:
        return torch.from_numpy((x - self.mean_) / self.scale_)

    def _examples(self, x: Floats, target: Indices, rows: Indices, device: torch.device) -> Examples:
        vectors = self._scaled(x[rows]).to(device, torch.float32)
        return vectors, torch.from_numpy(target[rows]).to(device)

    @torch.no_grad()
    def _logits(self, x: Floats) -> Floats:
        weight = next(self.module_.parameters())
        parts = [
            self.module_(rows.to(weight.device, weight.dtype)).cpu().double()
            for rows in torch.split(self._scaled(x), _ROWS)
        ]
        found: Floats = torch.cat(parts).numpy() / self.temperature_
        return found

    def __getstate__(self) -> dict[str, Any]:
        """What is pickled: the network as it is on the CPU, so that it loads anywhere."""
        state: dict[str, Any] = super().__getstate__()
        if "module_" in state:
            state = {**state, "module_": deepcopy(state["module_"]).cpu()}
        return state


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, TypeError) as error:
        raise InputError(
            f"device must be one that PyTorch has here, got {name!r} ({str(error).splitlines()[0]}); "
            "choose 'cpu' or 'cuda'"
        ) from error
    return device
