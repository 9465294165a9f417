"""Trees: level by level, node by node and plain recursion are one meaning, and malformed tables are refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from edgeseq_export import Source, convert
from edgeseq_export.ops.tree import TreeLayer, levels, numbered
from edgeseq_runtime import load
from edgeseq_runtime.errors import InputError, UsageError
from edgeseq_runtime.table import draw_table

from edgeseq import recipe
from edgeseq.data import Dataset
from edgeseq.nn import Hints, Recurrent, build
from edgeseq.nn.tree import Tree
from edgeseq.training import train

CELLS = ["treernn", "treelstm"]
LENGTHS = torch.tensor([13, 1, 7, 12])


def recursive(layer, x, children, node):
    """The equations as they stand in the papers, for one node of one tree: h, and c where there is one."""
    below = [recursive(layer, x, children, child) for child in children[node].tolist() if child >= 0]
    zeros = x.new_zeros(layer.hidden_size)
    h_sum = sum((state[0] for state in below), zeros)
    w, b, step = layer.drive.weight, layer.drive.bias, layer.step
    if layer.cell == "treernn":
        return (torch.tanh(w @ x[node] + b + step.u.weight @ h_sum),)
    i, o, u, f = (w @ x[node] + b).chunk(4)
    u_i, u_o, u_u = step.u.weight.chunk(3)
    kept = sum((torch.sigmoid(f + step.u_f.weight @ h) * c for h, c in below), zeros)
    c = torch.sigmoid(i + u_i @ h_sum) * torch.tanh(u + u_u @ h_sum) + kept
    return torch.sigmoid(o + u_o @ h_sum) * torch.tanh(c), c


def make_layer(cell):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return TreeLayer(cell, 5, 6).double()


def make_trees(arity=3, seed=1):
    rng = np.random.default_rng(seed)
    children = torch.from_numpy(draw_table(rng, (4, 13, arity)))
    children[2, 7:] = 99  # behind the end anything may stand
    return torch.from_numpy(rng.standard_normal((4, 13, 5))), children


@pytest.mark.parametrize("arity", [1, 2, 5])
@pytest.mark.parametrize("cell", CELLS)
def test_level_by_level_and_node_by_node_equal_recursion(cell, arity):
    layer, (x, children) = make_layer(cell), make_trees(arity)
    x[torch.arange(13) >= LENGTHS[:, None]] = torch.nan
    expected = torch.zeros(4, 13, 6, dtype=torch.float64)
    for row, length in enumerate(LENGTHS.tolist()):
        for node in range(length):
            expected[row, node] = recursive(layer, x[row], children[row], node)[0]
    for form in (layer, layer.stepped()):
        torch.testing.assert_close(form(x, children, LENGTHS), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("cell", CELLS)
def test_gradients_are_those_of_recursion(cell):
    layer, (x, children) = make_layer(cell), make_trees()
    gradients = []
    roots = [recursive(layer, x[row], children[row], length - 1)[0] for row, length in enumerate(LENGTHS.tolist())]
    for answer in (torch.stack(roots), layer(x, children, LENGTHS)[torch.arange(4), LENGTHS - 1]):
        layer.zero_grad()
        (answer**2).sum().backward()
        gradients.append([parameter.grad.clone() for parameter in layer.parameters()])
    for expected, actual in zip(*gradients, strict=True):
        assert expected.abs().sum() > 0
        torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-12)


def test_levels_are_heights():
    children = torch.tensor(
        [[[-1, -1], [-1, -1], [0, 1], [-1, -1], [2, 3]], [[-1, -1], [0, -1], [1, 0], [7, 7], [7, 7]]]
    )
    lengths = torch.tensor([5, 3])
    found = [level.tolist() for level in levels(numbered(torch.where(children == 7, -1, children)), 5, lengths)]
    assert found == [[0, 1, 3, 5], [2, 6], [4, 7]]


def test_without_lengths_all_nodes_count():
    layer, (x, children) = make_layer("treelstm"), make_trees()
    children[2] = children[0]
    whole = torch.full((4,), 13)
    assert torch.equal(layer(x, children), layer(x, children, whole))
    assert torch.equal(layer.stepped()(x, children), layer.stepped()(x, children, whole))


def make_network(**config):
    sizes = {"input_size": 1, "output_size": 4, "arity": 3, "hidden_size": 6, "vocabulary_size": 7, "embedding_size": 5}
    with torch.random.fork_rng():
        torch.manual_seed(2)
        return build("tree", {**sizes, **config}, Hints(typical={"batch": 1, "time": 9})).eval()


@pytest.mark.parametrize("head", ["last", "step"])
@pytest.mark.parametrize("cell", CELLS)
def test_a_batch_equals_its_rows_one_by_one(cell, head):
    network = make_network(cell=cell, head=head, num_layers=2)
    _, children = make_trees()
    tokens = torch.randint(0, 7, (4, 13), generator=torch.Generator().manual_seed(0))
    together = network(children, LENGTHS, tokens=tokens)["logits"]
    for row, n in enumerate(LENGTHS.tolist()):
        alone = network(children[row : row + 1, :n], tokens=tokens[row : row + 1, :n])["logits"]
        valid = together[row : row + 1, :n] if head == "step" else together[row : row + 1]
        torch.testing.assert_close(alone, valid, rtol=1e-5, atol=1e-6)


@pytest.fixture(scope="module")
def model():
    network = make_network(num_layers=2)
    return network, load(convert(Source(network, network.signature(), "tree", "classify", "trees")))


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 30, 2), (4, 13, 3), (3, 2, 8)])
def test_the_file_takes_any_number_of_trees_nodes_and_children(model, shape):
    network, file = model
    rng = np.random.default_rng(0)
    inputs = {"tokens": rng.integers(0, 7, shape[:2]), "children": draw_table(rng, shape)}
    inputs["lengths"] = rng.integers(1, shape[1] + 1, shape[0])
    with torch.no_grad():
        expected = network(**{name: torch.from_numpy(array) for name, array in inputs.items()})
    np.testing.assert_allclose(file.run(inputs)["logits"], expected["logits"], atol=2e-6)


@pytest.mark.parametrize(
    ("node", "child", "message"),
    [
        (1, 2, "has 2 in row 0 at node 1, entry 0; but children come before their parent"),
        (2, 2, "a node cannot be its own child"),
        (2, 3, "but there are 3 nodes"),
        (2, -2, "-1 stands for no child"),
    ],
)
def test_the_file_refuses_malformed_tables(model, node, child, message):
    children = np.array([[[-1, -1], [-1, -1], [0, 1]]])
    tokens = np.zeros((1, 3), np.int64)
    assert model[1].run({"tokens": tokens, "children": children})["logits"].shape == (1, 4)
    children[0, node, 0] = child
    with pytest.raises(InputError, match=message):
        model[1].run({"tokens": tokens, "children": children})


def make_data(x, more):
    return Dataset(x, np.array([0, 1]), np.array([3, 2]), ("no", "yes"), more=more)


CHILDREN = np.array([[[-1, -1], [-1, -1], [0, 1]], [[-1, -1], [0, -1], [-1, -1]]])


def test_sizes_come_from_the_data():
    tokens = make_data(np.array([[0, 4, 2], [1, 1, 0]]), {"children": CHILDREN})
    assert Tree.sizes(tokens) == {
        **{"output_size": 2, "task": "classify", "arity": 2},
        **{"input_size": 1, "vocabulary_size": 5},
    }
    assert Tree.sizes(replace(tokens, token_count=9))["vocabulary_size"] == 9
    assert Tree.sizes(replace(tokens, token_count=9, vocabulary={"tokens": tuple("abcdef")}))["vocabulary_size"] == 6
    features = make_data(np.zeros((2, 3, 7), np.float32), {"children": CHILDREN})
    assert Tree.sizes(features)["input_size"] == 7


@pytest.mark.parametrize(
    ("more", "error", "message"),
    [
        ({}, UsageError, "trees need 'children', whole numbers"),
        ({"children": CHILDREN[..., 0]}, UsageError, "trees need 'children', whole numbers"),
        ({"children": CHILDREN + 1}, InputError, "a node cannot be its own child|come before their parent"),
    ],
)
def test_data_that_holds_no_trees_is_refused(more, error, message):
    with pytest.raises(error, match=message):
        Tree.sizes(make_data(np.array([[0, 4, 2], [1, 1, 0]]), more))


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 7, 1)])
@pytest.mark.parametrize("network", [Recurrent, Tree])
def test_x_of_other_axes_is_refused(network, shape):
    x = make_data(np.zeros(shape, np.float32), {"children": CHILDREN})
    with pytest.raises(UsageError, match=r"reads features \(n, time, features\) or token ids \(n, time\), but x has"):
        network.sizes(x)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"cell": "lstm"}, "is 'lstm', but it must be 'treernn' or 'treelstm'"),
        ({"head": "mean"}, "is 'mean', but it must be 'last' or 'step'"),
        ({"hidden_size": 0}, "hidden_size is 0"),
        ({"vocabulary_size": 1}, "at least 2 tokens"),
    ],
)
def test_configs_that_cannot_be_built(config, message):
    with pytest.raises(UsageError, match=message):
        make_network(**config)


def test_features_are_standardised_in_the_network():
    rng = np.random.default_rng(0)
    data = make_data((rng.standard_normal((2, 3, 2)) * 5 + 30).astype(np.float32), {"children": CHILDREN})
    network = make_network(vocabulary_size=None, input_size=2, output_size=2)
    network.standardise(data)
    np.testing.assert_allclose(network.x_mean, data.values.mean(0), rtol=1e-6)
    outputs = network(torch.from_numpy(CHILDREN), torch.from_numpy(data.lengths), x=torch.from_numpy(data.x))
    assert outputs["logits"].shape == (2, 2)


@pytest.mark.parametrize("seed", range(4))
def test_a_malformed_table_is_refused_before_training_whichever_part_it_is_in(tmp_path, seed):
    children = np.tile(np.array([[-1, -1], [-1, -1], [0, 1]]), (12, 1, 1))
    children[5, 2] = [0, 2]  # its own child
    np.savez(tmp_path / "mine.npz", x=np.zeros((12, 3), int), y=np.arange(12) % 2, children=children)
    text = 'model = { family = "tree" }\ndata = { path = "mine.npz" }\n'
    (tmp_path / "recipe.toml").write_text(text)
    with pytest.raises(InputError, match=r"has 2 in row . at node 2, entry 1; but a node cannot be its own child"):
        train(recipe.load(tmp_path, [f"data.seed={seed}"]), tmp_path / "out", device="cpu")
