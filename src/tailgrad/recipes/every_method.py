"""``all`` in place of names: every method that suits the network and the data, and why others do not."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from tailgrad.checks import InputError, one_of
from tailgrad.data import Source
from tailgrad.recipes.after_training import make_chain
from tailgrad.recipes.assemble import make_loss, make_model, needed_size, with_pretrained
from tailgrad.recipes.combine import check_model
from tailgrad.recipes.components import NONE
from tailgrad.recipes.compose import named, overlay
from tailgrad.recipes.config import Config
from tailgrad.recipes.configure import configure
from tailgrad.recipes.own_loss import MakeLoss
from tailgrad.recipes.prepare import training_classes
from tailgrad.recipes.prior import method_ledger
from tailgrad.recipes.row_parts import encoding_of
from tailgrad.recipes.stage_checks import check_stages
from tailgrad.recipes.stepping import wrap_optimizer

ALL = "all"
FIRST = "baseline"
"""What all others are compared with, where nothing was named before ``all``."""
_SIDE = 32


def expanded(names: Sequence[Any]) -> tuple[list[Any], set[str]]:
    """Methods with every name that ``all`` or ``all:KIND`` stands for, and which of them it brought.

    A kind is one of the things that methods act on, such as loss, sampler or optimiser.

    Args:
        names: of methods, ``all`` and ``all:KIND`` among them; other things stay as they are.

    Raises:
        InputError: there is no such kind.

    Example:
        >>> expanded(["ce", "all:sampler"])[0][:2]
        ['ce', 'bbn']
    """
    found: list[Any] = []
    brought: set[str] = set()
    for name in names:
        if not isinstance(name, str) or name.partition(":")[0] != ALL:
            found.append(name)
            continue
        found = found or [FIRST]
        more = [one for one in _of_kind(name.partition(":")[2]) if one not in [*found, *names]]
        found += more
        brought |= set(more)
    return found, brought


def _of_kind(kind: str) -> list[str]:
    kinds = {name: _words(str(overlay("methods", name).get("acts_on", ""))) for name in named("methods")}
    if not kind:
        return list(kinds)
    one_of("kind of methods", kind, dict.fromkeys(word for words in kinds.values() for word in words))
    return [name for name, words in kinds.items() if kind in words]


def _words(acts_on: str) -> list[str]:
    return [word.strip() for word in re.split(r",| and ", acts_on) if word.strip()]


class Sieve:
    """Builds what methods are made of, and leaves out those of ``all`` that do not suit or that repeat one.

    Args:
        source: as for ``compare``.
        regime: as for ``compare``.
        overrides: keys of the regime.
        own: what makes losses of the user's own, by method.

    Example:
        >>> sieve = Sieve("digits-lt", "digits", {"model": {"name": "resnet8"}}, {})
        >>> sieve.why_not("csba", overlay("methods", "csba"))
        ''
    """

    def __init__(
        self, source: Any, regime: str | None, overrides: Mapping[str, Any], own: Mapping[str, MakeLoss]
    ) -> None:
        self.source, self.regime, self.overrides, self.own = source, regime, overrides, own
        self.opened: Any = source
        self._seen: dict[str, str] = {}

    def why_not(self, name: str, method: Mapping[str, Any]) -> str:
        """Why a method is to be left out; empty where it suits.

        Raises:
            InputError: the source cannot be opened.
        """
        try:
            config, self.opened = configure(
                self.source,
                opened=self.opened,
                method=method,
                regime=self.regime,
                overrides=self.overrides,
            )
            before = self._seen.setdefault(_without_name(config), name)
            if before != name:
                return f"it is the same as {before}"
            _build(config, self.opened, self.own.get(name))
        except InputError as error:
            if not isinstance(self.opened, Source):
                raise
            return str(error).partition("\n")[0]  # a ledger may follow
        return ""


def _without_name(config: Config) -> str:
    return config.model_copy(update={"method": ""}).model_dump_json()


def _build(config: Config, source: Source, own: MakeLoss | None) -> None:
    """Make all that a run makes before it trains, on counts of its first split."""
    classes = training_classes(config, source)
    target = [k for k, n in enumerate(classes.counts) for _ in range(n)]
    if config.estimator.name != NONE:
        return  # no network to build
    config, encoding = with_pretrained(config, wanted=False), encoding_of(source)
    size = (_SIDE, _SIDE) if encoding is None else encoding.size
    with torch.random.fork_rng(devices=[]):
        model = make_model(config, classes.num_classes, columns={} if encoding is None else encoding.columns)
        check_model(config.combine, model, needed_size(config) or size)
        losses = check_stages(config, model, classes, target, own)
        loss = make_loss(config, classes, own, model)
        method_ledger(config, classes, target, {-1: loss, **losses}, make_chain(config, classes.counts).steps)
        plain = torch.optim.SGD(model.parameters(), lr=1.0)
        wrap_optimizer(plain, config, model, loss, classes.counts)
