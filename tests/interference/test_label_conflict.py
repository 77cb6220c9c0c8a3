"""Label gradients by autograd on the whole, permutations drawn by the thousand, and folds added up."""

from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tailgrad.checks import InputError
from tailgrad.interference.label_conflict import LabelConflict, measure_labels
from tailgrad.interference.label_gradients import SIDES, label_gradients, label_losses

N, L = 48, 3


def network(inputs: int = 4) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(inputs, 6), nn.Tanh(), nn.Dropout(), nn.Linear(6, L)).train()


def data(n: int = N) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(n, 4, generator=generator)
    return x, (x[:, :L] + torch.randn(n, L, generator=generator) > 0.3).float()


def whole(model: nn.Module, x: Tensor, y: Tensor, names: tuple[str, ...]) -> np.ndarray:
    """Gradient of each label's mean loss, straight from autograd [L, P]."""
    model.eval()
    losses = label_losses(model(x), y)
    chosen = [p for name, p in model.named_parameters() if name in names]
    rows = [torch.autograd.grad(one, chosen, retain_graph=True) for one in losses]
    return np.stack([torch.cat([g.flatten() for g in row]).double().numpy() for row in rows])


BACKBONE = ("0.weight", "0.bias")


def test_sides_and_folds_add_up_to_the_gradient_of_the_mean_loss() -> None:
    (x, y), model = data(), network()
    found = label_gradients(model, [(x[:20], y[:20]), (x[20:], y[20:])], folds=5)
    total = found.products[:2, :, :, :2].sum((0, 2, 3, 5))
    rows = whole(network(), x, y, BACKBONE)
    np.testing.assert_allclose(total, rows @ rows.T, rtol=1e-4, atol=1e-9)
    assert found.shares.sum() == pytest.approx(1)
    assert found.positives.tolist() == y.sum(0).tolist()
    assert model.training
    assert all(p.grad is None for p in model.parameters())


def test_the_positive_side_is_that_of_the_images_with_the_label() -> None:
    (x, y), model = data(), network()
    found = label_gradients(model, [(x, y)], folds=2)
    model.eval()
    for k in range(L):
        part = F.binary_cross_entropy_with_logits(model(x)[:, k], y[:, k], reduction="none")
        for side, mask in ((0, y[:, k]), (1, 1 - y[:, k])):
            weights = [p for name, p in model.named_parameters() if name in BACKBONE]
            gradient = torch.autograd.grad((part * mask).sum() / N, weights, retain_graph=True)
            squared = sum(float((g.double() ** 2).sum()) for g in gradient)
            assert found.products[side, k, :, side, k].sum() == pytest.approx(squared, rel=1e-4)
    s = model(x).double().sigmoid().detach()
    np.testing.assert_allclose(found.logits[0], (y * (1 - s)).mean(0), rtol=1e-6)
    np.testing.assert_allclose(found.logits[1], ((1 - y) * s).mean(0), rtol=1e-6)


def test_the_null_is_the_mean_over_every_way_to_deal_the_targets_out() -> None:
    x, y = data(5)
    model = network()
    rows = np.mean(
        [whole(network(), x, y[list(order)], BACKBONE) for order in permutations(range(5))], axis=0
    )
    found = label_gradients(model, [(x, y)], folds=5)
    null = SIDES.index("null")
    np.testing.assert_allclose(
        found.products[null, :, :, null].sum((1, 3)), rows @ rows.T, rtol=1e-4, atol=1e-9
    )


def test_products_across_folds_are_free_of_noise() -> None:
    """Of pure noise the plain cosine of two labels that share it is 1; across folds its square is about 0."""
    model = nn.Sequential(nn.Linear(30, 2, bias=False), nn.Linear(2, 2, bias=False))
    with torch.no_grad():
        model[1].weight.copy_(torch.eye(2))
        model[0].weight.zero_()
    plain, across = [], []
    for seed in range(4):
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(64, 30, generator=generator)
        y = (torch.rand(64, 1, generator=generator) > 0.5).float().expand(-1, 2)
        products = label_gradients(model, [(x, y)], folds=4, parameters="0.weight").products[:2, 0, :, :2, 0]
        plain.append(products.sum())
        same = products.sum((0, 2))[range(4), range(4)].sum()
        across.append((plain[-1] - same) / (1 - 1 / 4))
    assert abs(np.mean(across)) < 0.4 * np.mean(plain)


def test_what_one_label_learns_at_the_cost_of_another_is_found() -> None:
    """Two labels read one shared number and want it to be opposite."""
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(3, 1, bias=False), nn.Linear(1, 3, bias=False))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[0.1, 0.1, 0.1]]))
        model[1].weight.fill_(1.0)
    x = torch.randn(400, 3)
    first = (x[:, :1] > 0).float()
    y = torch.cat([first, 1 - first, (x[:, 2:] > 0).float()], 1)
    found = measure_labels(model, [(x, y)], label_names=("up", "down", "else"))
    assert found.disattenuated[0, 1] < -0.9
    assert found.opposed()[0][:2] == ("up", "down")
    assert found.excess[0, 1] == found.disattenuated[0, 1] - found.null[0, 1]
    assert found.low[0, 1] <= found.excess[0, 1] <= found.high[0, 1]
    np.testing.assert_array_equal(found.excess, found.excess.T)


def test_a_rare_label_is_pulled_by_its_negatives_before_it_is_learnt() -> None:
    model = network()
    with torch.no_grad():
        model[-1].weight.mul_(0.1)
        model[-1].bias.zero_()
    x = torch.randn(300, 4, generator=torch.Generator().manual_seed(2)) + 1
    y = torch.stack([torch.arange(300) % m == 0 for m in (2, 5, 30)], 1).float()
    found = measure_labels(model, [(x, y)])
    assert found.positive_share[2] < 0.2 < 0.4 < found.positive_share[0]
    assert (found.share_low < found.positive_share).all()
    assert (found.logit_positive < found.logit_negative).tolist() == [False, True, True] or (
        found.logit_negative[2] > 5 * found.logit_positive[2]
    )


def test_a_label_without_positives_is_said_and_left_open(tmp_path: Path) -> None:
    x, y = data()
    y[:, 1] = 0
    found = measure_labels(network(), [(x, y)], max_images=40, folds=4)
    assert found.images == 40
    assert np.isnan(found.positive_share[1])
    assert found.notes == ("1 labels have no positive among the images measured.",)
    found.save(tmp_path / "heldout")
    again = LabelConflict.load(tmp_path / "heldout")
    for name, value in vars(found).items():
        np.testing.assert_array_equal(getattr(again, name), value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["heldout.json", "heldout.npz"]


def test_sketches_change_cosines_by_little(monkeypatch: pytest.MonkeyPatch) -> None:
    from tailgrad.interference import label_gradients as module

    x, y = torch.randn(32, 40), (torch.rand(32, L) > 0.5).float()
    model = nn.Sequential(nn.Linear(40, 200), nn.Tanh(), nn.Linear(200, L))
    exact = measure_labels(model, [(x, y)], folds=4)
    monkeypatch.setattr(module, "_MOST", 1000)
    monkeypatch.setattr(module, "_SKETCH", 4096)
    found = measure_labels(model, [(x, y)], folds=4)
    assert "sketched" in found.notes[0]
    np.testing.assert_allclose(found.conflict, exact.conflict, atol=0.1)


@pytest.mark.parametrize(
    ("given", "options", "words"),
    [
        ([], {}, "at least one image, got none"),
        ([(torch.zeros(4, 4), torch.zeros(4))], {}, r"\[n, L\], one row an image, got \[4\] for 4 images"),
        ([(torch.zeros(9, 4), torch.zeros(9, 2))], {}, "a column for each of 3 logits, got 2"),
        (
            [(torch.zeros(9, 4), torch.full((9, L), 0.3))],
            {},
            r"zeros and ones, got 0\.3.* for label 0 of image 0",
        ),
        ([(torch.full((9, 4), torch.nan), torch.zeros(9, L))], {}, "logits must be finite, got nan"),
        ([(torch.zeros(5, 4), torch.zeros(5, L))], {}, "one image for each of 8 folds, got 5"),
        ([(torch.zeros(9, 4), torch.zeros(9, L))], {"folds": 2}, "folds must be 0 or at least 3, got 2"),
        ([(torch.zeros(9, 4), torch.zeros(9, L))], {"max_images": 0}, "max_images must be in"),
        ([(torch.zeros(9, 4), torch.zeros(9, L))], {"label_names": ("a",)}, "one name for each of 3 labels"),
    ],
)
def test_what_cannot_be_measured_is_refused(given: object, options: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        measure_labels(network(), given, **options)  # type: ignore[arg-type]
