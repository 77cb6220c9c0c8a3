import pytest
import torch
from torch.nn import functional as F

from tailgrad.checks import InputError
from tailgrad.heads import ClassHeads


def test_equals_the_branches_written_out() -> None:
    torch.manual_seed(0)
    head = ClassHeads(6, 3, width=5, slope=0.2).double().eval()
    features = torch.randn(2, 6, 4, 5, dtype=torch.float64)
    for k, branch in enumerate(head.branches):
        x = F.leaky_relu(F.conv2d(features, branch[0].weight, branch[0].bias, padding=1), 0.2)
        x = F.leaky_relu(F.conv2d(x, branch[2].weight, branch[2].bias, padding=1), 0.2)
        logit = F.conv2d(x, branch[5].weight, branch[5].bias).mean((1, 2, 3))
        torch.testing.assert_close(head(features)[:, k], logit)


def test_a_class_changes_its_own_branch_only() -> None:
    head = ClassHeads(6, 3, width=4).eval()
    head(torch.randn(2, 6, 3, 3))[:, 1].sum().backward()
    touched = [any(bool(p.grad.any()) for p in branch.parameters()) for branch in head.branches]
    assert touched == [False, True, False]


def test_parameter_count_with_the_papers_width() -> None:
    with torch.device("meta"):
        head = ClassHeads(768, 6)
    assert sum(p.numel() for p in head.parameters()) == 7_531_846 - 1_336_384


def test_without_a_grid_positions_are_independent_and_averaged() -> None:
    head = ClassHeads(6, 3, width=4, grid=False).double().eval()
    tokens = torch.randn(2, 6, 5, dtype=torch.float64)
    each = torch.stack([head(tokens[:, :, i]) for i in range(5)])
    torch.testing.assert_close(head(tokens), each.mean(0))


def test_too_many_parameters_are_refused_before_they_are_made() -> None:
    with pytest.raises(InputError, match=r"at most 200,000,000 parameters, got 1,032,\d+,000 .* choose csba"):
        ClassHeads(768, 1000)
    with torch.device("meta"):
        ClassHeads(768, 190)
        ClassHeads(768, 1000, grid=False)


def test_the_refused_size_is_the_size_it_would_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tailgrad.heads.class_heads.MOST_PARAMETERS", 0)
    for grid in (True, False):
        with pytest.raises(InputError) as error:
            ClassHeads(7, 3, width=5, grid=grid)
        stated = int(str(error.value).split("got ")[1].split()[0].replace(",", ""))
        with monkeypatch.context() as allowed:
            allowed.setattr("tailgrad.heads.class_heads.MOST_PARAMETERS", 10**6)
            head = ClassHeads(7, 3, width=5, grid=grid)
        assert stated == sum(p.numel() for p in head.parameters())


def test_pooled_vectors_need_grid_false() -> None:
    with pytest.raises(InputError, match=r"got shape \[2, 6\]; build ClassHeads with grid=False"):
        ClassHeads(6, 3, width=4)(torch.zeros(2, 6))
