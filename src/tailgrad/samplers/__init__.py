"""Samplers: which example comes next.

A sampler is built as ``Sampler(target, *, options by name, seed=0, num_replicas=None, rank=None)`` with the
class index of each example, goes to a ``DataLoader`` as ``sampler=``, and gives positions.
``set_epoch(epoch)`` (from 1) before an epoch draws it anew: the same (seed, epoch) gives the same order. An
epoch has N places unless the sampler says otherwise. ``correction()`` answers with ``log(q_k / pi_k)`` how it
shifts the class prior, as an entry of the ledger, or None; where that changes over training, it is that of
the last epochs. Samplers that fill batches take ``batch_size``, of one rank, and want the loader to have the
same.

**Several processes.** Every rank draws the same order and takes its own part of it: all ranks' parts together
are the order, and no place goes to two ranks, except that up to a place (a batch, in samplers that fill
batches) a rank is repeated from the beginning, so that all have the same length. It is right without wrapping
and with it:

- plain DDP: ranks come from torch.distributed, whenever it is started; or pass ``num_replicas`` and ``rank``,
  as one must where a model is spread over several processes too;
- Lightning and Fabric replace any sampler but a ``DistributedSampler``; all samplers here are one, and
  ``use_distributed_sampler`` makes no difference;
- Accelerate (and the Hugging Face Trainer) gives each of P ranks every P-th batch of what a sampler yields,
  whatever the sampler is. A sampler notices that such a loader asks (it looks up the call stack) and yields
  the whole order; Accelerate then fills up its last batches from the first ones (``even_batches``).

Fabric, Lightning and Accelerate call ``set_epoch`` themselves and count from 0, so that schedules
(``DeferredSampler``, ``ProgressiveSampler``, ...) run one epoch late there.

Example:
    >>> sampler = ClassBalancedSampler([0] * 90 + [1] * 10, seed=7)
    >>> sampler.set_epoch(1)
    >>> 35 < sum(i >= 90 for i in sampler) < 65
    True

To add a sampler, write one file with one class over ``EpochSampler`` that has ``order`` and
``log_frequencies``, and export it here; its name in recipes is the class name in snake case without
``_sampler``. ``resample`` and ``SelfPacedEnsemble`` work on feature vectors and are no samplers in this
sense; they load scikit-learn or imbalanced-learn, and only when they are asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tailgrad.samplers.class_aware import ClassAwareSampler
from tailgrad.samplers.class_balanced import ClassBalancedSampler
from tailgrad.samplers.cooldown import CooldownSampler
from tailgrad.samplers.deferred import DeferredSampler
from tailgrad.samplers.instance import InstanceSampler
from tailgrad.samplers.m_per_class import MPerClassSampler
from tailgrad.samplers.over import OverSampler
from tailgrad.samplers.power import PowerSampler
from tailgrad.samplers.progressive import ProgressiveSampler
from tailgrad.samplers.resample import resample
from tailgrad.samplers.reversed import ReversedSampler
from tailgrad.samplers.square_root import SquareRootSampler
from tailgrad.samplers.stratified import StratifiedSampler
from tailgrad.samplers.two_phase import TwoPhaseSampler
from tailgrad.samplers.under import UnderSampler

if TYPE_CHECKING:
    from tailgrad.samplers.self_paced_ensemble import SelfPacedEnsemble

__all__ = [
    "ClassAwareSampler",
    "ClassBalancedSampler",
    "CooldownSampler",
    "DeferredSampler",
    "InstanceSampler",
    "MPerClassSampler",
    "OverSampler",
    "PowerSampler",
    "ProgressiveSampler",
    "ReversedSampler",
    "SelfPacedEnsemble",
    "SquareRootSampler",
    "StratifiedSampler",
    "TwoPhaseSampler",
    "UnderSampler",
    "resample",
]


def __getattr__(name: str) -> Any:
    if name != "SelfPacedEnsemble":
        raise AttributeError(f"module 'tailgrad.samplers' has no attribute {name!r}")
    return import_module("tailgrad.samplers.self_paced_ensemble").SelfPacedEnsemble
