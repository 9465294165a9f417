"""ListOps: nested lists of MAX, MIN, MED and SM over digits, as trees and as flat strings with brackets.

The class is the value of the whole, a digit. The trees are drawn anew at every load, from a seed and by the grammar of
Nangia and Bowman 2018: a node is an operation with probability 1/4 and else a digit, an operation takes 2 to 5
arguments, all choices are uniform; here down to 10 operations deep, with at most 100 nodes, and all distinct.
"""

from collections.abc import Sequence
from hashlib import sha256
from random import Random

import numpy as np

from edgeseq.data.dataset import About, Array, Dataset, Loaded

Tree = int | tuple[str, tuple["Tree", ...]]
"""A digit, or an operation and its arguments."""

OPERATIONS = ("MAX", "MIN", "MED", "SM")
MOST_ARGUMENTS = 5
DEEPEST = 10
MOST_NODES = 100

TREE_SYMBOLS = (*map(str, range(10)), *OPERATIONS)
STRING_SYMBOLS = (*map(str, range(10)), *(f"[{name}" for name in OPERATIONS), "]")

_OPERATION_SHARE = 0.25
_SEED = 1804
_SIZES = (80_000, 2_000, 2_000)
_LABELS = tuple(map(str, range(10)))
_CITATION = (
    "drawn by the grammar of N. Nangia and S. R. Bowman: ListOps: A Diagnostic Dataset for Latent Tree Learning. "
    "NAACL Student Research Workshop, 2018, https://arxiv.org/abs/1804.06028"
)
_LICENCE = "drawn by edgeseq itself, from a seed; no file is read"


def load() -> Loaded:
    """The trees as nodes in post-order: children before their parent, the root last.

    x: int64 (n, nodes), what stands at a node (TREE_SYMBOLS). more["children"]: int16 (n, nodes, 5), the nodes of its
    arguments, -1 for none.
    """
    parts = [_as_trees(trees) for trees in _parts()]
    return Loaded(parts[0], _about("listops", parts), test=parts[2], validation=parts[1])


def load_strings() -> Loaded:
    """The same trees, part by part, as flat strings of tokens with brackets: `[MAX 2 9 [MIN 4 7 ] 0 ]`."""
    parts = [_as_strings(trees) for trees in _parts()]
    return Loaded(parts[0], _about("listops-strings", parts), test=parts[2], validation=parts[1])


def draw_trees(count: int, seed: int) -> list[Tree]:
    """Distinct trees with an operation at the root. Of random.Random only `random()` is used: it never changes."""
    rng = Random(seed)
    trees: dict[Tree, None] = {}
    while len(trees) < count:
        tree = _draw_operation(rng, DEEPEST)
        if size(tree) <= MOST_NODES:
            trees[tree] = None
    return sorted(trees, key=lambda _: rng.random())  # as drawn they grow: the small ones run out


def value(tree: Tree) -> int:
    """The digit a tree stands for."""
    if isinstance(tree, int):
        return tree
    operation, arguments = tree
    return _apply(operation, [value(argument) for argument in arguments])


def size(tree: Tree) -> int:
    """How many nodes a tree has."""
    return 1 if isinstance(tree, int) else 1 + sum(map(size, tree[1]))


def tokens(tree: Tree) -> list[str]:
    """The string of a tree, token by token."""
    if isinstance(tree, int):
        return [str(tree)]
    inner = [token for argument in tree[1] for token in tokens(argument)]
    return [f"[{tree[0]}", *inner, "]"]


def table(tree: Tree) -> tuple[list[int], list[list[int]]]:
    """The nodes in post-order: what stands at each, by its number in TREE_SYMBOLS, and the nodes of its arguments."""
    symbols: list[int] = []
    children: list[list[int]] = []

    def add(node: Tree) -> int:
        below = [] if isinstance(node, int) else [add(argument) for argument in node[1]]
        symbols.append(node if isinstance(node, int) else TREE_SYMBOLS.index(node[0]))
        children.append(below)
        return len(symbols) - 1

    add(tree)
    return symbols, children


def _draw(rng: Random, depth: int) -> Tree:
    if depth and rng.random() < _OPERATION_SHARE:
        return _draw_operation(rng, depth)
    return _below(rng, 10)


def _draw_operation(rng: Random, depth: int) -> Tree:
    operation = OPERATIONS[_below(rng, len(OPERATIONS))]
    count = 2 + _below(rng, MOST_ARGUMENTS - 1)
    return operation, tuple(_draw(rng, depth - 1) for _ in range(count))


def _below(rng: Random, end: int) -> int:
    return int(rng.random() * end)


def _apply(operation: str, values: Sequence[int]) -> int:
    """MED of an even number of values is the mean of the two in the middle, rounded down; SM is the sum modulo 10."""
    if operation == "MAX":
        return max(values)
    if operation == "MIN":
        return min(values)
    if operation == "SM":
        return sum(values) % 10
    ordered, middle = sorted(values), len(values) // 2
    return ordered[middle] if len(values) % 2 else (ordered[middle - 1] + ordered[middle]) // 2


def _parts() -> list[list[Tree]]:
    """Training, validation and test part; no tree stands in two of them."""
    trees = draw_trees(sum(_SIZES), _SEED)
    ends = np.cumsum(_SIZES)
    return [trees[end - size : end] for end, size in zip(ends, _SIZES, strict=True)]


def _as_trees(trees: Sequence[Tree]) -> Dataset:
    tables = [table(tree) for tree in trees]
    x, lengths = _padded([symbols for symbols, _ in tables])
    children = np.full((*x.shape, MOST_ARGUMENTS), -1, np.int16)  # there are many of them
    for row, (_, lists) in enumerate(tables):
        for node, arguments in enumerate(lists):
            if arguments:
                children[row, node, : len(arguments)] = arguments
    vocabulary = {"tokens": TREE_SYMBOLS}
    return Dataset(x, _values(trees), lengths, _LABELS, more={"children": children}, vocabulary=vocabulary)


def _as_strings(trees: Sequence[Tree]) -> Dataset:
    number = {symbol: i for i, symbol in enumerate(STRING_SYMBOLS)}
    x, lengths = _padded([[number[token] for token in tokens(tree)] for tree in trees])
    return Dataset(x, _values(trees), lengths, _LABELS, vocabulary={"tokens": STRING_SYMBOLS})


def _values(trees: Sequence[Tree]) -> Array:
    return np.array([value(tree) for tree in trees], np.int64)


def _padded(rows: Sequence[Sequence[int]]) -> tuple[Array, Array]:
    lengths = np.array([len(row) for row in rows], np.int64)
    x = np.zeros((len(rows), lengths.max()), np.int64)
    for i, row in enumerate(rows):
        x[i, : len(row)] = row
    return x, lengths


def _about(name: str, parts: Sequence[Dataset]) -> About:
    content = sha256()
    for part in parts:
        for array in (part.x, part.y, *part.more.values()):
            content.update(array.tobytes())
    return About(name, content.hexdigest(), _CITATION, _LICENCE)
