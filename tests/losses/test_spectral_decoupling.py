import torch
from torch.nn import functional as F

from tailgrad.losses import SpectralDecouplingLoss

torch.manual_seed(0)
LOGITS, TARGET = torch.randn(6, 4, dtype=torch.float64, requires_grad=True), torch.randint(4, (6,))


def test_equals_its_definition_and_gradient() -> None:
    loss = SpectralDecouplingLoss(penalty=0.3)(LOGITS, TARGET)
    expected = F.cross_entropy(LOGITS, TARGET) + 0.15 * LOGITS.square().sum(1).mean()
    torch.testing.assert_close(loss, expected)
    (found,) = torch.autograd.grad(loss, LOGITS)
    wanted = (LOGITS.softmax(1) - F.one_hot(TARGET, 4) + 0.3 * LOGITS) / 6
    torch.testing.assert_close(found, wanted)


def test_without_penalty_it_is_cross_entropy() -> None:
    found = SpectralDecouplingLoss(penalty=0.0, reduction="none")(LOGITS, TARGET)
    torch.testing.assert_close(found, F.cross_entropy(LOGITS, TARGET, reduction="none"))
