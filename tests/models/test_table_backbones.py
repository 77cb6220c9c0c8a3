"""Backbones for tables: contract, equality with the library's own networks, errors."""

import sys

import numpy as np
import pytest
import torch
from torch import nn

import tailgrad
from tailgrad.checks import InputError
from tailgrad.heads.names import head_names
from tailgrad.models import MLP, Classifier, FTTransformer, TableResNet, check_map, create_model
from tailgrad.models.column_vectors import ColumnVectors
from tailgrad.models.create_model import BACKBONES, TABLE_BACKBONES
from tailgrad.types import TableInputs

pytest.importorskip("rtdl_revisiting_models")
SMALL = {
    "mlp": {"hidden": (16, 8)},
    "table_resnet": {"blocks": 1, "width": 16},
    "ft_transformer": {"blocks": 2, "width": 16},
}
CARDINALITIES = (4, 7)


def rows(n: int = 12) -> TableInputs:
    draw = torch.Generator().manual_seed(n)
    columns = [torch.randint(0, size + 1, (n,), generator=draw) for size in CARDINALITIES]
    return TableInputs(torch.randn(n, 3, generator=draw), torch.stack(columns, 1))


def make(name: str, head: str = "linear", **options: object) -> Classifier:
    chosen = {"numbers": 3, "categories": CARDINALITIES, **SMALL[name], **options}
    heads = {"width": 4} if head == "class_heads" else {}
    return create_model(name, 3, head=head, backbone_options=chosen, head_options=heads)


@pytest.mark.parametrize("name", TABLE_BACKBONES)
def test_the_contract_of_a_backbone_holds(name: str) -> None:
    backbone = make(name).backbone.eval()
    features = backbone(rows())
    assert features.shape == (12, backbone.channels)
    assert backbone.pool(features.bfloat16()).shape == (12, backbone.pooled)
    assert backbone.pool(features.bfloat16()).dtype is torch.float32
    assert (backbone.grid, backbone.input_size, backbone.takes) == (False, None, "table")
    staged = {id(p) for stage in backbone.stages for p in backbone.get_submodule(stage).parameters()}
    assert staged == {id(p) for p in backbone.parameters()}
    assert len(backbone.example()) == 1
    assert backbone(backbone.example()).isfinite().all()


def test_the_tables_of_names_agree() -> None:
    assert set(TABLE_BACKBONES) == {
        name for name, build in BACKBONES.items() if getattr(build, "takes", "images") == "table"
    }


@pytest.mark.parametrize("name", TABLE_BACKBONES)
@pytest.mark.parametrize("head", head_names())
def test_every_head_attaches_and_trains(name: str, head: str) -> None:
    torch.manual_seed(0)
    model = make(name, head).train()
    target = torch.arange(12) % 3
    nn.functional.cross_entropy(model(rows()), target).backward()
    wanted = {key: p for key, p in model.named_parameters() if p.requires_grad}
    assert all(p.grad is not None and p.grad.isfinite().all() for p in wanted.values()), name
    assert sum(float(p.grad.abs().sum()) for key, p in wanted.items() if key.startswith("head")) > 0
    outputs = model.eval().outputs(rows())
    assert torch.equal(outputs.logits, model(rows()))
    assert outputs.features.ndim == 2


@pytest.mark.parametrize("name", TABLE_BACKBONES)
def test_vectors_do_where_there_are_no_categories(name: str) -> None:
    model = make(name, categories=()).eval()
    vectors = torch.randn(5, 3)
    no_columns = torch.empty(5, 0, dtype=torch.int64)
    assert torch.equal(model(vectors), model(TableInputs(vectors, no_columns)))
    assert model.double()(vectors.double()).dtype is torch.float64


@pytest.mark.parametrize("name", TABLE_BACKBONES)
def test_categories_alone_do(name: str) -> None:
    model = make(name, numbers=0).eval()
    inputs = TableInputs(torch.empty(12, 0), rows().categories)
    assert model(inputs).std(0).min() > 0


@pytest.mark.parametrize("name", TABLE_BACKBONES)
def test_an_unseen_category_counts_for_nothing_at_the_start(name: str) -> None:
    """Its vector is 0: the same as taking away the weights that read it."""
    backbone = make(name).backbone.eval()
    tables = (backbone.net.cat_embeddings if name == "ft_transformer" else backbone.columns).embeddings
    assert [table.num_embeddings for table in tables] == [5, 8]
    assert all(not table.weight[0].any() and table.weight[1:].abs().min() > 0 for table in tables)
    loss = make(name)(TableInputs(rows().numbers, torch.zeros(12, 2, dtype=torch.int64))).sum()
    assert loss.isfinite()


def test_the_mlp_is_the_librarys() -> None:
    import rtdl_revisiting_models as library

    theirs = library.MLP(d_in=5, d_out=3, n_blocks=2, d_block=8, dropout=0.0).eval()
    ours = create_model("mlp", 3, backbone_options={"numbers": 5, "hidden": (8, 8), "dropout": 0.0}).eval()
    weights = list(theirs.state_dict().values())
    ours.load_state_dict(dict(zip(ours.state_dict(), weights, strict=True)))
    vectors = torch.randn(7, 5)
    torch.testing.assert_close(ours(vectors), theirs(vectors))


def test_the_residual_network_is_the_librarys_with_its_classifier() -> None:
    import rtdl_revisiting_models as library

    torch.manual_seed(1)
    theirs = library.ResNet(
        d_in=5, d_out=3, n_blocks=2, d_block=8, d_hidden_multiplier=2.0, dropout1=0.0, dropout2=0.0
    )
    theirs(torch.randn(20, 5))  # moves the running statistics
    options = {"numbers": 5, "blocks": 2, "width": 8, "dropout": 0.0}
    ours = create_model("table_resnet", 3, backbone_options=options)
    ours.load_state_dict(dict(zip(ours.state_dict(), theirs.state_dict().values(), strict=True)))
    vectors = torch.randn(7, 5)
    torch.testing.assert_close(ours.eval()(vectors), theirs.eval()(vectors))


def test_the_transformer_is_the_librarys_with_its_classifier() -> None:
    import rtdl_revisiting_models as library

    torch.manual_seed(2)
    options = library.FTTransformer.get_default_kwargs(2) | {"d_block": 16}
    theirs = library.FTTransformer(n_cont_features=3, cat_cardinalities=[5, 8], d_out=3, **options)
    ours = make("ft_transformer")
    ours.load_state_dict(dict(zip(ours.state_dict(), theirs.state_dict().values(), strict=True)))
    inputs = rows()
    torch.testing.assert_close(ours.eval()(inputs), theirs.eval()(inputs.numbers, inputs.categories))


def test_columns_become_one_vector() -> None:
    columns = ColumnVectors(3, CARDINALITIES, embedding=5)
    inputs = rows()
    expected = [inputs.numbers] + [
        table.weight[inputs.categories[:, place]] for place, table in enumerate(columns.embeddings)
    ]
    assert torch.equal(columns(inputs), torch.cat(expected, 1))
    assert columns.width == 3 + 4 + 5  # four categories need no wider vector than 4


@pytest.mark.parametrize("name", TABLE_BACKBONES)
def test_interference_is_measured_and_agrees_with_plain_gradients(name: str) -> None:
    torch.manual_seed(0)
    model, inputs, target = make(name).eval(), rows(24), torch.arange(24) % 3
    result = tailgrad.measure(model, [(inputs[:10], target[:10]), (inputs[10:], target[10:])], folds=2)
    kept = list(model.backbone.parameters())
    grads = []
    for label in range(3):
        loss = nn.functional.cross_entropy(model(inputs[target == label]), target[target == label])
        grads.append(torch.cat([g.flatten() for g in torch.autograd.grad(loss, kept)]).double())
    unit = torch.stack([g / g.norm() for g in grads])
    np.testing.assert_allclose(result.conflict, unit @ unit.T, atol=1e-4)


@pytest.mark.parametrize("cut", ["columns", "blocks.0"])
def test_experts_share_the_first_layers(cut: str) -> None:
    options = {"numbers": 3, "categories": CARDINALITIES, **SMALL["mlp"]}
    more = {"experts": 2, "share_until": cut}
    model = create_model(
        "mlp", 3, backbone_options=options, architecture="multi_expert", architecture_options=more
    )
    assert model.outputs(rows()).experts.shape == (2, 12, 3)
    mixing = create_model(
        "mlp", 3, backbone_options=options, architecture="bbn", architecture_options={"share_until": cut}
    )
    assert mixing.mixed(rows(), rows(), 0.3).shape == (12, 3)


@pytest.mark.parametrize("name", ["mlp", pytest.param("ft_transformer", marks=pytest.mark.slow)])
def test_it_compiles_in_one_graph(name: str) -> None:
    torch.compiler.reset()
    model = make(name).eval()
    with torch.no_grad():
        compiled = torch.compile(model, backend="eager", fullgraph=True)(rows())
        torch.testing.assert_close(compiled, model(rows()))


@pytest.mark.parametrize("name", TABLE_BACKBONES)
@pytest.mark.parametrize(
    "inputs",
    [
        torch.zeros(2, 3, 8, 8),
        torch.zeros(2, 3),
        TableInputs(torch.zeros(2, 4), torch.zeros(2, 2).long()),
        TableInputs(torch.zeros(2, 3), torch.zeros(2, 1).long()),
        TableInputs(torch.zeros(2, 3).long(), torch.zeros(2, 2).long()),
    ],
)
def test_other_columns_are_refused(name: str, inputs: object) -> None:
    with pytest.raises(InputError, match="rows of 3 numbers .floating point. and 2 categories"):
        make(name)(inputs)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("mlp", {"numbers": 0, "categories": ()}, "at least one column"),
        ("mlp", {"categories": (3, 0)}, r"categories\[1\] must be in"),
        ("mlp", {"numbers": -1}, "numbers must be in"),
        ("mlp", {"hidden": ()}, "hidden must hold at least one width"),
        ("mlp", {"hidden": (4, 0)}, r"hidden\[1\] must be in"),
        ("mlp", {"dropout": 1.0}, "dropout must be in"),
        ("mlp", {"embedding": 0}, "embedding must be in"),
        ("mlp", {"hiden": (4,)}, "did you mean 'hidden'"),
        ("table_resnet", {"blocks": 0}, "blocks must be in"),
        ("table_resnet", {"width": 0}, "width must be in"),
        ("table_resnet", {"dropout": -0.1}, "dropout must be in"),
        ("table_resnet", {"residual_dropout": 1}, "residual_dropout must be in"),
        ("ft_transformer", {"blocks": 7}, "blocks must be in"),
        ("ft_transformer", {"width": 12}, "multiple of 8"),
        ("ft_transformer", {"attention_dropout": 2}, "attention_dropout must be in"),
        ("ft_transformer", {"dropout": 2}, "dropout must be in"),
        ("ft_transformer", {"numbers": 0, "categories": ()}, "at least one column"),
    ],
)
def test_bad_options_are_named(name: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make(name, **options)


@pytest.mark.parametrize("name", TABLE_BACKBONES)
def test_images_and_tables_are_not_mixed_up(name: str) -> None:
    with pytest.raises(InputError, match="backbone_options must hold 'numbers'"):
        create_model(name, 3)
    with pytest.raises(InputError, match="it takes no images"):
        check_map(make(name), (32, 32))
    with pytest.raises(InputError, match="pretrained must be False"):
        create_model(name, 3, pretrained=True)
    with pytest.raises(InputError, match="use a backbone for tables, such as mlp"):
        create_model("resnet8", 3)(rows())


@pytest.mark.parametrize("build", [TableResNet, FTTransformer])
def test_a_missing_library_names_the_extra(build: type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rtdl_revisiting_models", None)
    with pytest.raises(InputError, match=r"pip install 'tailgrad\[tables\]'"):
        build(numbers=3)
    assert MLP(numbers=3)(torch.zeros(1, 3)).shape == (1, 384)
