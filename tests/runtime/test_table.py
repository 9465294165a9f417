"""Tables of trees: what is refused and why, and that drawn ones are trees."""

import numpy as np
import pytest
from edgeseq_runtime.errors import InputError
from edgeseq_runtime.table import check_table, draw_table
from hypothesis import given
from hypothesis import strategies as st

# [MAX 2 [MIN 4 7 ] ]: nodes 2, 4, 7, MIN, MAX
GOOD = np.array([[[-1, -1], [-1, -1], [-1, -1], [1, 2], [0, 3]]])


def changed(node, entry, child):
    table = GOOD.copy()
    table[0, node, entry] = child
    return table


@pytest.mark.parametrize(
    "table",
    [
        GOOD,
        changed(4, 0, 3),  # a child of two parents, or twice of one: a graph without cycles will do
        changed(3, 0, -1),  # a gap before a child
        np.full((2, 3, 0), -1),
        np.full((0, 3, 2), -1),
        np.full((1, 1, 1), -1),
    ],
)
def test_accepted(table):
    check_table("children", table)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (changed(3, 0, 4), "'children' has 4 in row 0 at node 3, entry 0; but children come before their parent"),
        (changed(1, 1, 3), "has 3 in row 0 at node 1, entry 1; but children come before their parent"),  # and a cycle
        (changed(4, 1, 4), "has 4 in row 0 at node 4, entry 1; but a node cannot be its own child"),
        (changed(0, 0, 0), "has 0 in row 0 at node 0, entry 0; but a node cannot be its own child"),
        (changed(4, 0, 5), "has 5 in row 0 at node 4, entry 0; but there are 5 nodes, counted from 0"),
        (changed(2, 0, 2**40), f"has {2**40} in row 0 at node 2, entry 0; but there are 5 nodes"),
        (changed(2, 1, -2), "has -2 in row 0 at node 2, entry 1; -1 stands for no child"),
        (np.concatenate([GOOD, changed(4, 1, 4)]), "in row 1 at node 4"),
    ],
)
def test_refused(table, message):
    with pytest.raises(InputError, match=message):
        check_table("children", table)


def test_behind_the_end_of_a_row_anything_may_stand():
    table = np.concatenate([changed(4, 0, 99), GOOD])
    check_table("children", table, np.array([4, 5]))
    with pytest.raises(InputError, match="row 0 at node 4"):
        check_table("children", table, np.array([5, 5]))


@given(
    st.integers(0, 2**32),
    st.integers(1, 4),
    st.integers(1, 40),
    st.integers(1, 6),
)
def test_drawn_tables_are_single_trees(seed, batch, nodes, children):
    table = draw_table(np.random.default_rng(seed), (batch, nodes, children))
    assert table.dtype == np.int64
    check_table("children", table)
    for row in table:
        named = row[row >= 0]
        assert sorted(named) == list(range(nodes - 1))  # every node but the root has exactly one parent


def test_drawn_tables_differ_in_shape():
    tables = draw_table(np.random.default_rng(0), (50, 12, 3))
    arities = (tables >= 0).sum(-1)
    assert set(arities.ravel()) == {0, 1, 2, 3}
    assert len({row.tobytes() for row in tables}) > 40


@pytest.mark.parametrize("shape", [(2, 5, 0), (0, 5, 2), (2, 0, 2)])
def test_tables_without_room(shape):
    assert draw_table(np.random.default_rng(0), shape).shape == shape
