"""One gate for each group of classes, the groups chosen so that classes that oppose one another part."""

from collections.abc import Sequence
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from tailgrad.checks import InputError, one_of
from tailgrad.heads.gate import Gate
from tailgrad.heads.init import kaiming_uniform
from tailgrad.heads.options import check_sizes, whole_size
from tailgrad.heads.pooling import branch_means, check_features, mean_positions
from tailgrad.precision import full_precision

BY = ("conflict", "random")
Pairs = list[tuple[nn.Parameter, nn.Parameter]]


class ConflictBranches(nn.Module):
    """``z_k = w_k . (a_{b(k)} * mean_{hw} D(F)) + c_k``: class k sees features through its group's gate b(k).

    ``a_b = sigmoid(E_b relu(S_b mean_{hw} F))`` with S_b [C//r, C] and E_b [C, C//r] without bias.

    Args:
        channels: C, at least 1.
        num_classes: K, at least 2.
        groups: B, at least 1; K where there are fewer classes.
        reduction: r, at least 1; the gates' hidden width is ``max(1, C // r)``.
        dropout: probability of zeroing one element of the features, 0 to 0.99.
        assign_after: epochs after which a run assigns the classes, at least 1.
        by: how a run assigns them: ``"conflict"`` puts classes that oppose one another beyond chance into
            different groups; ``"random"``, its control, deals the same group sizes out by the seed.

    Raises:
        InputError: a size is outside its range, ``by`` is unknown, or features of another width arrive.

    Attributes:
        group: b(k) [K], part of the state; all classes share gate 0 until ``assign``, and the other gates are
            copies of it that receive no gradient.

    The head does not choose: ``tailgrad.interference.group_classes`` finds the groups, and ``assign`` is told
    of them, by the run or by a loop of your own.

    Source: ours. Unlike arXiv 2606.05740, where no gate is tied to a class, this ties them.

    Example:
        >>> head, features = ConflictBranches(16, 4, groups=2).eval(), torch.randn(3, 16, 4, 4)
        >>> before, _ = head(features), head.assign([0, 1, 0, 1])
        >>> torch.equal(head(features), before), head.group.tolist()
        (True, [0, 1, 0, 1])
    """

    takes: ClassVar[str] = "map"
    group: Tensor

    def __init__(
        self,
        channels: int,
        num_classes: int,
        *,
        groups: int = 3,
        reduction: int = 8,
        dropout: float = 0.5,
        assign_after: int = 3,
        by: str = "conflict",
    ) -> None:
        check_sizes(channels, num_classes, dropout=dropout)
        for name, value in (("groups", groups), ("reduction", reduction), ("assign_after", assign_after)):
            whole_size(name, value)
        super().__init__()
        self.channels = channels
        self.dropout = dropout
        self.assign_after = assign_after
        self.by = one_of("by", by, BY)
        hidden = max(1, channels // reduction)
        self.branches = nn.ModuleList(Gate(channels, hidden) for _ in range(min(groups, num_classes)))
        self.classify = nn.Linear(channels, num_classes)
        self.register_buffer("group", torch.zeros(num_classes, dtype=torch.int64))
        self.register_load_state_dict_post_hook(_check_loaded)  # type: ignore[no-untyped-call]  # PyTorch's
        kaiming_uniform(self)
        self._copy_first()

    @property
    def is_assigned(self) -> bool:
        """Whether the classes have groups of their own yet."""
        return bool(self.group.any())

    def gates(self, features: Tensor) -> Tensor:
        """Gate activations a_b in (0, 1), [B, N, C], of features [N, C, ...]."""
        check_features(features, self.channels)
        return torch.stack(self._gates(mean_positions(features)))

    def forward(self, features: Tensor) -> Tensor:
        """Logits [N, K] of features [N, C, ...]."""
        check_features(features, self.channels)
        pooled = mean_positions(features)
        mean = branch_means(features, 1, self.dropout)[0] if self.training else pooled
        gates = self._gates(pooled)
        with full_precision(features):
            mean = mean.to(gates[0].dtype)
            # One product a gate: rows of a larger one may be rounded differently, and copies must agree.
            logits = torch.stack([self.classify(gate * mean) for gate in gates])
        chosen = logits.gather(0, self.group.expand(1, len(mean), -1))[0]
        return chosen.to(torch.promote_types(chosen.dtype, torch.float32))

    def assign(self, groups: Sequence[int]) -> Pairs:
        """Give every class its group and each group a copy of the trained gate: logits stay, bit for bit.

        Args:
            groups: b(k) in 0..B-1 of every class; no group may be empty.

        Returns:
            (weight of gate 0, the weight that is now its copy), for an optimiser whose state is to follow.

        Raises:
            InputError: ``groups`` does not fit, or the classes have groups already.
        """
        wanted = list(range(len(self.branches)))
        if len(groups) != len(self.group) or sorted(set(groups)) != wanted:
            raise InputError(
                f"groups must hold one of 0..{wanted[-1]} for each of {len(self.group)} classes, and each of "
                f"them once or more, got {list(groups)[:20]}; see tailgrad.interference.group_classes"
            )
        if self.is_assigned:
            raise InputError(
                f"groups must be assigned once, got a head with {self.group.tolist()[:20]}; build a new head"
            )
        self.group.copy_(torch.tensor(groups))
        return self._copy_first()

    def _gates(self, pooled: Tensor) -> list[Tensor]:
        with full_precision(pooled):
            pooled = pooled.to(self.classify.weight.dtype)
            return [gate(pooled) for gate in self.branches]

    @torch.no_grad()
    def _copy_first(self) -> Pairs:
        first, *others = cast("list[Gate]", list(self.branches))
        pairs = [pair for gate in others for pair in zip(first.parameters(), gate.parameters(), strict=True)]
        for weight, copy in pairs:
            copy.copy_(weight)
        return pairs


def _check_loaded(module: nn.Module, _keys: Any) -> None:
    """A file may hold any numbers: an index outside is found here and not on the device."""
    head = cast("ConflictBranches", module)
    group, last = head.group, len(head.branches) - 1
    if not group.is_meta and not 0 <= int(group.min()) <= int(group.max()) <= last:
        raise InputError(
            f"group must hold numbers in 0..{last}, got {int(group.min())}..{int(group.max())}; take the "
            "weights of a head with as many groups"
        )
