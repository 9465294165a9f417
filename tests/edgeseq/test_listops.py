"""ListOps: the grammar, the values beside an evaluator of the strings, and two views of the same trees."""

import statistics
from collections import Counter

import numpy as np
import pytest
from edgeseq_runtime.table import check_table

from edgeseq.data import listops
from edgeseq.data.listops import draw_trees, size, table, tokens, value

TREES = draw_trees(1500, seed=3)
EXAMPLE = ("MAX", (2, 9, ("MIN", (4, 7)), 0))


def depth(tree):
    return 0 if isinstance(tree, int) else 1 + max(depth(argument) for argument in tree[1])


def operations(tree):
    """All subtrees that are operations."""
    return [] if isinstance(tree, int) else [tree, *(inner for argument in tree[1] for inner in operations(argument))]


def evaluated(string):
    """The value of a string, by a stack, as one would read it: nothing here knows of trees."""
    stack = []
    for token in string.split():
        if token != "]":
            stack.append(token)
            continue
        arguments = []
        while not stack[-1].startswith("["):
            arguments.append(int(stack.pop()))
        name = stack.pop()
        meaning = {"[MAX": max, "[MIN": min, "[MED": lambda v: int(statistics.median(v)), "[SM": lambda v: sum(v) % 10}
        stack.append(str(meaning[name](arguments)))
    (result,) = stack
    return int(result)


@pytest.mark.parametrize(
    ("tree", "string", "expected"),
    [
        (EXAMPLE, "[MAX 2 9 [MIN 4 7 ] 0 ]", 9),
        (("MED", (1, 4)), "[MED 1 4 ]", 2),
        (("MED", (9, 0, 3, 5, 5)), "[MED 9 0 3 5 5 ]", 5),
        (("SM", (9, 9, ("SM", (5, 4)))), "[SM 9 9 [SM 5 4 ] ]", 7),
    ],
)
def test_examples(tree, string, expected):
    assert " ".join(tokens(tree)) == string
    assert value(tree) == expected == evaluated(string)


def test_values_equal_those_of_the_strings():
    assert all(value(tree) == evaluated(" ".join(tokens(tree))) for tree in TREES)


def test_trees_follow_the_grammar():
    assert len(set(TREES)) == len(TREES)
    assert all(not isinstance(tree, int) for tree in TREES)
    assert {depth(tree) for tree in TREES} == set(range(1, 11))
    assert 90 < max(size(tree) for tree in TREES) <= listops.MOST_NODES
    inner = [operation for tree in TREES for operation in operations(tree)]
    assert {name for name, _ in inner} == set(listops.OPERATIONS)
    assert {len(arguments) for _, arguments in inner} == {2, 3, 4, 5}


def test_shares_are_those_of_the_grammar():
    trees = [listops._draw_operation(listops.Random(seed), 10) for seed in range(3000)]
    arguments = [argument for _, given in trees for argument in given]
    share = sum(not isinstance(argument, int) for argument in arguments) / len(arguments)
    assert share == pytest.approx(0.25, abs=0.02)
    arities = Counter(len(given) for _, given in trees)
    assert all(arities[count] == pytest.approx(750, rel=0.15) for count in (2, 3, 4, 5))
    digits = Counter(argument for argument in arguments if isinstance(argument, int))
    assert all(digits[digit] == pytest.approx(sum(digits.values()) / 10, rel=0.15) for digit in range(10))


def test_answers_are_not_trivial():
    shares = Counter(value(tree) for tree in TREES)
    assert max(shares.values()) < 0.15 * len(TREES)


def test_nodes_are_in_post_order():
    symbols, children = table(EXAMPLE)
    assert [listops.TREE_SYMBOLS[symbol] for symbol in symbols] == ["2", "9", "4", "7", "MIN", "0", "MAX"]
    assert children == [[], [], [], [], [2, 3], [], [0, 1, 4, 5]]


@pytest.fixture
def parts(monkeypatch):
    monkeypatch.setattr(listops, "_SIZES", (60, 20, 20))
    return listops.load(), listops.load_strings()


def test_the_two_views_hold_the_same_trees(parts):
    trees, strings = parts
    for name in ("whole", "validation", "test"):
        tree, string = getattr(trees, name), getattr(strings, name)
        assert tree.labels == string.labels == tuple("0123456789")
        np.testing.assert_array_equal(tree.y, string.y)
        for row, length in enumerate(string.lengths):
            text = " ".join(listops.STRING_SYMBOLS[token] for token in string.x[row, :length])
            assert evaluated(text) == tree.y[row]
            assert tree.lengths[row] == length - text.count("]")


def test_tables_are_well_formed_and_give_the_value(parts):
    for data in (parts[0].whole, parts[0].validation, parts[0].test):
        children = data.more["children"]
        check_table("children", children, data.lengths)
        for row, length in enumerate(data.lengths):
            values = []
            for token, entries in zip(data.x[row, :length], children[row], strict=False):
                arguments = [values[entry] for entry in entries if entry >= 0]
                symbol = listops.TREE_SYMBOLS[token]
                values.append(listops._apply(symbol, arguments) if arguments else int(symbol))
            assert values[-1] == data.y[row]


def test_parts_are_disjoint_and_drawn_alike_every_time(parts):
    trees, strings = parts
    every = (strings.whole, strings.validation, strings.test)
    texts = [tuple(row[:length]) for part in every for row, length in zip(part.x, part.lengths, strict=True)]
    assert len(texts) == 100 == len(set(texts))
    assert listops.load().about == trees.about
    assert trees.about.sha256 == "ca13209be2c417f7d7190e2ab4de53c976c2aab4fdd376d50239e32d05739c45"
    assert strings.about.sha256 == "a44714ed597a47e2076d1db2b2ed7d259f11781d5cc0b37777ea06394ecb38f2"


def test_a_tree_that_was_drawn_once_is_drawn_forever():
    assert " ".join(tokens(draw_trees(1, seed=0)[0])) == "[SM 2 4 3 5 5 ]"
