"""Class gradients of many kinds of network equal one backward pass an example, in one pass or one by one."""

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import orthogonal, weight_norm

from tailgrad.checks import InputError
from tailgrad.interference import ClassGradients, class_gradients

K = 4
COUNTS = [14, 9, 5, 1]


class Tokens(nn.Module):
    """An embedding, something on tokens [N, T, 8], their mean, a linear head."""

    def __init__(self, middle: nn.Module) -> None:
        super().__init__()
        self.embedding, self.middle, self.head = nn.Embedding(11, 8), middle, nn.Linear(8, K)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.middle(self.embedding(x)).mean(1))


class VisionTransformer(nn.Module):
    """Class token, slice of a position embedding, layer scale, attention from linear layers."""

    def __init__(self, in_place: str = "") -> None:
        super().__init__()
        self.patches = nn.Conv2d(2, 8, 3, stride=3)
        self.token, self.positions = nn.Parameter(torch.randn(1, 1, 8)), nn.Parameter(torch.randn(1, 20, 8))
        self.norm, self.qkv, self.out = nn.LayerNorm(8), nn.Linear(8, 24), nn.Linear(8, 8)
        self.scale, self.head = nn.Parameter(torch.randn(8)), nn.Linear(8, K)
        self.in_place = in_place

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1)
        if self.in_place == "sum":
            x += self.positions[:, : x.shape[1]]
        else:
            x = x + self.positions[:, : x.shape[1]]
        q, k, v = self.qkv(self.norm(x)).chunk(3, -1)
        change = self.out(F.scaled_dot_product_attention(q, k, v))
        x = x + (change.mul_(self.scale) if self.in_place == "product" else self.scale * change)
        return self.head(x[:, 0])


class LearntPositions(nn.Module):
    """Positions looked up by a range that the forward pass makes, as in most text networks."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.positions, self.head = nn.Embedding(11, 8), nn.Embedding(9, 8), nn.Linear(8, K)

    def forward(self, x: Tensor) -> Tensor:
        return self.head((self.words(x) + self.positions(torch.arange(x.shape[1]))).tanh().mean(1))


class RelativePositions(nn.Module):
    """A table looked up by a buffer of 49 indices, a multiple of the trial's number of examples."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(13, 1))
        self.register_buffer("index", torch.randint(13, (7, 7)))
        self.first, self.head = nn.Linear(6, 8), nn.Linear(8, K)

    def forward(self, x: Tensor) -> Tensor:
        bias = self.table[self.index.view(-1)].view(7, 7)
        x = self.first(x)
        attention = (x @ x.transpose(1, 2) + bias).softmax(-1)
        return self.head((attention @ x).mean(1))


class Recurrent(nn.Module):
    """The last state of a recurrent layer."""

    def __init__(self, layer: nn.Module, batch_first: bool) -> None:
        super().__init__()
        self.layer, self.batch_first, self.head = layer, batch_first, nn.Linear(8, K)

    def forward(self, x: Tensor) -> Tensor:
        out, _ = self.layer(x if self.batch_first else x.transpose(0, 1))
        return self.head(out[:, -1] if self.batch_first else out[-1])


class SequenceFirst(nn.Module):
    """[T, N, D] inside."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.head = nn.Linear(6, 8), nn.LayerNorm(8), nn.Linear(8, K)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.first(x.transpose(0, 1)).tanh()).mean(0))


class Reversed(nn.Module):
    """The first layer sees the examples in reverse order."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(6, 8), nn.Linear(8, K)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.first(x.flip(0)).flip(0).tanh())


class Routed(nn.Module):
    """Each example goes through one of two layers, which thus see other numbers of examples each time."""

    def __init__(self) -> None:
        super().__init__()
        self.experts, self.head = nn.ModuleList([nn.Linear(6, 8), nn.Linear(6, 8)]), nn.Linear(8, K)

    def forward(self, x: Tensor) -> Tensor:
        out, chosen = x.new_zeros(len(x), 8), x[:, 0] > 4  # none of the first seven
        for expert, mine in zip(self.experts, (~chosen, chosen), strict=True):
            if mine.any():
                out = out.index_put((mine.nonzero()[:, 0],), expert(x[mine]))
        return self.head(out.tanh())


class OwnFunction(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return x * weight

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        return grad * weight, (grad * x).sum(0)


class Hidden(nn.Module):
    """A parameter that is used where no one can look on."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.head = nn.Parameter(torch.randn(6)), nn.Linear(6, K)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(OwnFunction.apply(x, self.weight).tanh())


class TiedToTheHead(nn.Module):
    """The embedding's rows are the head's weights."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(K, 8), nn.Linear(8, K, bias=False)
        self.middle = nn.Linear(8, 8)
        self.head.weight = self.embedding.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.middle(self.embedding(x % K).mean(1)).tanh())


class Partly(nn.Module):
    """A frozen layer, and one that is never used."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen, self.unused, self.head = nn.Linear(6, 8), nn.Linear(3, 3), nn.Linear(8, K)
        self.frozen.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.frozen(x).tanh())


def _flat(*layers: nn.Module, width: int) -> nn.Module:
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(width, K))


Build = Callable[[], nn.Module]
IN_ONE_PASS: dict[str, tuple[Build, tuple[int, ...]]] = {
    "convolution in one dimension": (
        lambda: _flat(nn.Conv1d(2, 6, 3, stride=2, dilation=2, groups=2), nn.PReLU(6), width=36),
        (2, 16),
    ),
    "string padding and group norm": (
        lambda: _flat(nn.Conv2d(2, 6, 3, padding="same"), nn.GroupNorm(2, 6), nn.ReLU(), width=150),
        (2, 5, 5),
    ),
    "valid padding and dilation": (
        lambda: _flat(nn.Conv2d(2, 7, (3, 2), padding="valid", dilation=2), nn.Tanh(), width=105),
        (2, 9, 5),
    ),
    "circular padding": (
        lambda: _flat(nn.Conv2d(2, 7, 3, padding=1, padding_mode="circular"), width=175),
        (2, 5, 5),
    ),
    "three dimensions": (
        lambda: _flat(nn.Conv3d(1, 4, 2), nn.BatchNorm3d(4), nn.Tanh(), width=32),
        (1, 3, 3, 3),
    ),
    "transposed": (
        lambda: _flat(nn.ConvTranspose2d(2, 7, 3, stride=2), nn.BatchNorm2d(7), nn.ReLU(), width=343),
        (2, 3, 3),
    ),
    "grouped, strided, dropped out": (
        lambda: _flat(
            nn.Conv2d(4, 8, (3, 2), stride=(2, 1), padding=(1, 0), groups=4, bias=False),
            nn.BatchNorm2d(8),
            nn.Dropout2d(0.3),
            nn.SiLU(),
            width=96,
        ),
        (4, 5, 5),
    ),
    "linear on tokens": (
        lambda: _flat(nn.Linear(6, 8), nn.LayerNorm(8), nn.GELU(), nn.Linear(8, 5), width=35),
        (7, 6),
    ),
    "layer norm over two dimensions": (
        lambda: _flat(nn.LayerNorm((5, 6)), nn.Linear(6, 3), width=15),
        (5, 6),
    ),
    "batch norm without affine, rms norm": (
        lambda: _flat(nn.BatchNorm1d(6, affine=False), nn.Linear(6, 7), nn.RMSNorm(7), nn.PReLU(), width=7),
        (6,),
    ),
    "embedding bag": (lambda: nn.Sequential(nn.EmbeddingBag(11, 8), nn.Tanh(), nn.Linear(8, K)), ()),
    "vision transformer": (VisionTransformer, (2, 9, 9)),
    "vision transformer that adds in place": (lambda: VisionTransformer("sum"), (2, 9, 9)),
    "learnt positions": (LearntPositions, ()),
    "relative positions": (RelativePositions, (7, 6)),
    "weight norm": (
        lambda: nn.Sequential(weight_norm(nn.Linear(6, 14)), nn.Tanh(), weight_norm(nn.Linear(14, K))),
        (6,),
    ),
    "orthogonal": (lambda: nn.Sequential(orthogonal(nn.Linear(6, 7)), nn.Tanh(), nn.Linear(7, K)), (6,)),
    "weight-normed convolution": (
        lambda: _flat(weight_norm(nn.Conv2d(2, 7, 3)), nn.PReLU(7), width=63),
        (2, 5, 5),
    ),
    "tied to the head": (TiedToTheHead, ()),
    "frozen and unused": (Partly, (6,)),
}
ONE_BY_ONE: dict[str, tuple[Build, tuple[int, ...]]] = {
    "vision transformer that multiplies in place": (lambda: VisionTransformer("product"), (2, 9, 9)),
    "transformer layer": (lambda: Tokens(nn.TransformerEncoderLayer(8, 2, 12, 0.1, batch_first=True)), ()),
    "long short-term memory": (lambda: Recurrent(nn.LSTM(6, 8, batch_first=True), True), (5, 6)),
    "gated recurrence, sequence first": (lambda: Recurrent(nn.GRU(6, 8), False), (5, 6)),
    "sequence first": (SequenceFirst, (5, 6)),
    "sequence first, seven steps": (SequenceFirst, (7, 6)),
    "reversed": (Reversed, (6,)),
    "routed": (Routed, (6,)),
    "a function of one's own": (Hidden, (6,)),
}


def _problem(kind: str) -> tuple[nn.Module, Tensor, Tensor]:
    build, shape = (IN_ONE_PASS | ONE_BY_ONE)[kind]
    torch.manual_seed(7)
    model = build().double().train()
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1 and "original" not in name:
            nn.init.normal_(parameter.data, 0.3, 0.5)  # scales of 1 and biases of 0 would hide mistakes
    target = torch.repeat_interleave(torch.arange(K), torch.tensor(COUNTS))[torch.randperm(sum(COUNTS))]
    inputs = torch.randn(len(target), *shape, dtype=torch.float64)
    if not shape:
        inputs = torch.randint(11, (len(target), 5))
    if kind == "routed":
        inputs[:, 0] = 0
        inputs[20:, 0] = 5
    return model, inputs, target


def _brute_force(
    run: Callable[[int], Tensor], parameters: dict[str, Tensor], target: Tensor
) -> dict[str, Tensor]:
    """Class gradients [K, numel], one example at a time."""
    result = {name: torch.zeros(K, p.numel(), dtype=p.dtype) for name, p in parameters.items()}
    for p in parameters.values():
        p.requires_grad_()
    for i, y in enumerate(target.tolist()):
        loss = -F.log_softmax(run(i).double(), 1)[0, y]
        found = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
        for name, gradient in zip(parameters, found, strict=True):
            if gradient is not None:
                result[name][y] += gradient.flatten() / (target == y).sum()
    return result


def _assert_equal(found: ClassGradients, expected: dict[str, Tensor], tolerance: float = 1e-10) -> None:
    assert set(found.rows) == set(expected)
    largest = max(float(rows.abs().max()) for rows in expected.values())
    for name, rows in expected.items():
        torch.testing.assert_close(found.rows[name], rows, rtol=tolerance, atol=tolerance * largest, msg=name)


# In place on what the layer before has just given out: newer versions of torch let it pass.
EITHER_WAY = {"vision transformer that multiplies in place"}


def _one_by_one(found: ClassGradients) -> bool:
    return any("one by one" in note for note in found.notes)


@pytest.mark.parametrize("kind", [*IN_ONE_PASS, *ONE_BY_ONE])
def test_equals_brute_force(kind: str) -> None:
    model, inputs, target = _problem(kind)
    data = list(zip(inputs.split(11), target.split(11), strict=True))
    found = class_gradients(model, data, parameters="all")
    model.eval()
    expected = _brute_force(lambda i: model(inputs[i : i + 1]), dict(model.named_parameters()), target)
    _assert_equal(found, expected)
    assert found.counts.tolist() == COUNTS
    assert kind in EITHER_WAY or _one_by_one(found) == (kind in ONE_BY_ONE)


@pytest.mark.parametrize("kind", ["vision transformer", "grouped, strided, dropped out", "weight norm"])
def test_folds_and_both_ways_through_the_network_agree(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, inputs, target = _problem(kind)
    split = class_gradients(model, [(inputs, target)], parameters="all", folds=3)
    monkeypatch.setattr("tailgrad.interference.backward.Backward._try", lambda *_: "for the test")
    plain = class_gradients(model, [(inputs, target)], parameters="all", folds=3)
    assert _one_by_one(plain)
    assert not _one_by_one(split)
    _assert_equal(split, plain.rows)
    assert split.folds is not None
    assert plain.folds is not None
    torch.testing.assert_close(split.folds.sketches, plain.folds.sketches, rtol=1e-9, atol=1e-12)


class Coupled(nn.Module):
    """Every example is measured against the mean of its batch."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(6, 8), nn.Linear(8, K)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return self.head((x - x.mean(0)).tanh())


def test_a_network_that_couples_examples_gives_each_class_alone() -> None:
    torch.manual_seed(0)
    model, inputs = Coupled().double(), torch.randn(20, 6).double()
    target = torch.arange(20) % K
    found = class_gradients(model, [(inputs, target)], parameters="all")
    assert found.notes[-1].endswith("'first.weight' does not see one example at a time.")
    _assert_equal(found, _by_class(model, inputs, target))


def test_unused_parameters_are_named_and_hold_zeros() -> None:
    model, inputs, target = _problem("frozen and unused")
    found = class_gradients(model, [(inputs, target)], parameters="all")
    assert found.unreached == ("unused.weight", "unused.bias")
    assert "No loss reaches unused.weight, unused.bias." in found.notes
    assert not found.rows["unused.weight"].any()
    assert not model.frozen.weight.requires_grad
    with pytest.raises(InputError, match="must be reached by the loss, got unused.weight, unused.bias"):
        class_gradients(model, [(inputs, target)], parameters="unused.*")


WIDE = {
    "as many channels as examples": lambda: _flat(
        nn.Conv1d(2, 256, 3), nn.BatchNorm1d(256), nn.PReLU(256), width=256
    ),
    "as many features": lambda: nn.Sequential(
        weight_norm(nn.Linear(6, 256)), nn.PReLU(256), nn.LayerNorm(256), nn.Linear(256, K)
    ),
    "as many positions": lambda: Tokens(nn.Sequential(nn.Linear(8, 8), nn.Tanh())),
    "as many words": lambda: nn.Sequential(
        nn.Embedding(256, 8), nn.Flatten(), nn.Linear(40, 256), nn.GroupNorm(4, 256), nn.Linear(256, K)
    ),
}


@pytest.mark.parametrize("kind", WIDE)
def test_a_pack_of_256_is_not_mistaken_for_256_channels(kind: str) -> None:
    torch.manual_seed(0)
    model = WIDE[kind]().double()
    inputs = {
        "as many channels as examples": torch.randn(256, 2, 3).double(),
        "as many features": torch.randn(256, 6).double(),
        "as many positions": torch.randint(11, (256, 256)),
        "as many words": torch.randint(256, (256, 5)),
    }[kind]
    target = torch.arange(256) % K
    found = class_gradients(model, [(inputs, target)], parameters="all")
    assert not _one_by_one(found)
    model.eval()
    parameters = dict(model.named_parameters())
    for k in range(K):
        loss = F.cross_entropy(model(inputs[target == k]), target[target == k])
        for name, g in zip(parameters, torch.autograd.grad(loss, list(parameters.values())), strict=True):
            torch.testing.assert_close(found.rows[name][k], g.flatten(), rtol=1e-9, atol=1e-12, msg=name)


class TwoInputs(nn.Module):
    """Two inputs of one example each, one without dimensions of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(6, 8), nn.Linear(1, 8), nn.Linear(8, K)

    def forward(self, x: Tensor, age: Tensor) -> Tensor:
        return self.head((self.first(x) + self.second(age[:, None])).tanh())


TARGET = torch.repeat_interleave(torch.arange(K), torch.tensor(COUNTS))
X, AGE = torch.randn(len(TARGET), 6).double(), torch.rand(len(TARGET)).double()
SEVERAL: dict[str, tuple[object, Callable[..., Any] | None]] = {
    "tuple": ([((X, AGE), TARGET)], None),
    "dictionary": ([{"x": X, "age": AGE, "labels": TARGET}], None),
    "examples": ([{"x": x, "age": a, "label": int(y)} for x, a, y in zip(X, AGE, TARGET, strict=True)], None),
    "forward": ([((AGE, X), TARGET)], lambda model, inputs: model(inputs[1], age=inputs[0])),
    "output with logits": (
        [{"x": X, "age": AGE, "target": TARGET}],
        lambda model, inputs: {"logits": model(**inputs), "loss": None},
    ),
}


@pytest.mark.parametrize("form", SEVERAL)
def test_several_inputs(form: str) -> None:
    torch.manual_seed(0)
    model = TwoInputs().double()
    data, forward = SEVERAL[form]
    found = class_gradients(model, data, parameters="all", forward=forward)
    run = lambda i: model(X[i : i + 1], AGE[i : i + 1])  # noqa: E731
    _assert_equal(found, _brute_force(run, dict(model.named_parameters()), TARGET))
    assert not _one_by_one(found)


@pytest.mark.parametrize("kind", ["Bert", "DistilBert"])
def test_a_text_classifier_with_sentences_of_two_lengths(kind: str) -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    size = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 20}
    if kind == "DistilBert":
        size = {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 20}
    config = getattr(transformers, f"{kind}Config")(
        vocab_size=50, max_position_embeddings=16, num_labels=K, **size
    )
    model = getattr(transformers, f"{kind}ForSequenceClassification")(config).double()
    words, mask = torch.randint(50, (29, 8)), torch.ones(29, 8).long()
    mask[::3, 6:] = 0
    words[:10, 5:], mask[:10, 5:] = 0, 0
    data = [
        {"input_ids": words[:10, :5], "attention_mask": mask[:10, :5], "labels": TARGET[:10]},
        {"input_ids": words[10:], "attention_mask": mask[10:], "labels": TARGET[10:]},
    ]
    found = class_gradients(model, data, parameters="all")
    model.eval()
    run = lambda i: model(input_ids=words[i : i + 1], attention_mask=mask[i : i + 1]).logits  # noqa: E731
    _assert_equal(found, _brute_force(run, dict(model.named_parameters()), TARGET))
    assert not _one_by_one(found)
    assert found.groups.groups["head"] == ["classifier.weight", "classifier.bias"]


IMAGE_MODELS = {
    "vit_tiny_patch16_224": {"img_size": 32, "depth": 2, "embed_dim": 24, "num_heads": 3},
    "convnext_atto": {"depths": (1, 1, 1, 1), "dims": (8, 8, 16, 16)},
    "resnet10t": {},
    "swin_tiny_patch4_window7_224": {"img_size": 56, "embed_dim": 24, "depths": (1, 2), "num_heads": (1, 2)},
}


def _timm(name: str) -> tuple[nn.Module, Tensor]:
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    with warnings.catch_warnings(action="ignore"):
        model = timm.create_model(name, num_classes=K, **IMAGE_MODELS[name])
    size = IMAGE_MODELS[name].get("img_size", 32)
    return model, torch.randn(12, 3, size, size)


def _by_class(model: nn.Module, inputs: Tensor, target: Tensor) -> dict[str, Tensor]:
    model.eval()
    parameters = dict(model.named_parameters())
    rows = []
    for k in range(K):
        loss = F.cross_entropy(model(inputs[target == k]), target[target == k])
        rows.append(torch.autograd.grad(loss, list(parameters.values())))
    return {
        name: torch.stack([g.flatten() for g in column])
        for name, column in zip(parameters, zip(*rows, strict=True), strict=True)
    }


@pytest.mark.parametrize("name", IMAGE_MODELS)
def test_image_models(name: str) -> None:
    model, inputs = _timm(name)
    model, inputs, target = model.double(), inputs.double(), torch.arange(12) % K
    found = class_gradients(model, [(inputs, target)], parameters="all")
    _assert_equal(found, _by_class(model, inputs, target))
    assert not _one_by_one(found)


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "convnext_atto"])
def test_autocast_keeps_float32_rows(name: str) -> None:
    model, inputs = _timm(name)
    target = torch.arange(12) % K
    with torch.autocast("cpu", torch.bfloat16):
        found = class_gradients(model, [(inputs, target)], parameters="all", folds=2)
    assert {rows.dtype for rows in found.rows.values()} == {torch.float32}
    assert not _one_by_one(found)
    exact = _by_class(model, inputs, target)
    whole, wanted = (torch.cat([rows[name] for name in exact], 1) for rows in (found.rows, exact))
    assert ((whole - wanted).norm(dim=1) < 0.02 * wanted.norm(dim=1)).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_measured_in_a_float32_copy_and_said(dtype: torch.dtype) -> None:
    model, inputs, target = _problem("linear on tokens")
    model = model.to(dtype)
    found = class_gradients(model, [(inputs.to(dtype), target)], parameters="all")
    assert found.notes == (f"The model is in {dtype}; it was measured in a float32 copy.",)
    exact = model.float().eval()
    run = lambda i: exact(inputs[i : i + 1].to(dtype).float())  # noqa: E731
    _assert_equal(found, _brute_force(run, dict(exact.named_parameters()), target), 1e-5)
