"""Index tables of trees: refusing malformed ones, and drawing random ones that look like trees.

A table int64 (batch, nodes, children) names the children of every node, -1 where there is none. Children come before
their parent, so that a network can go through the nodes once, in order; a cycle cannot be written down like that.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeseq_runtime.errors import InputError

Array = NDArray[Any]

NONE = -1
"""Stands for no child."""

_LEAF_SHARE = 0.6


def check_table(name: str, table: Array, lengths: Array | None = None) -> None:
    """Refuse a table in which an entry of a node is neither -1 nor the number of an earlier node.

    table: integers (batch, nodes, children). lengths: nodes a row, (batch,); what stands behind them means nothing.

    Raises:
        InputError: naming the row, the node, the entry and what is wrong with it.
    """
    node = np.arange(table.shape[1])
    wrong = (table < NONE) | (table >= node[:, None])
    if lengths is not None:
        wrong &= (node < lengths[:, None])[:, :, None]
    if wrong.any():
        raise InputError(_message(name, table, np.argwhere(wrong)[0].tolist()))


def draw_table(rng: "np.random.Generator", shape: tuple[int, ...]) -> Array:
    """A random table int64 (batch, nodes, children): in every row one tree over all nodes, its root last.

    With one child a node the tree is a chain; with none every node stands alone.
    """
    table = np.full(shape, NONE, np.int64)
    for row in table:
        _fill(rng, row)
    return table


def _fill(rng: "np.random.Generator", row: Array) -> None:
    """Grow one tree in post-order: each node is a leaf, or takes the latest nodes that have no parent yet."""
    nodes, most = row.shape
    orphans: list[int] = []
    for node in range(nodes):
        mergeable = (nodes - 1 - node) * (most - 1)  # how many orphans the later nodes can still do away with
        least, available = max(len(orphans) - mergeable, 0), min(most, len(orphans))
        leaf = least == 0 and (available == 0 or rng.random() < _LEAF_SHARE)
        count = 0 if leaf else min(max(int(rng.integers(0, available + 1)), least, 1), available)
        row[node, :count] = orphans[len(orphans) - count :]
        del orphans[len(orphans) - count :]
        orphans.append(node)


def _message(name: str, table: Array, place: list[int]) -> str:
    row, node, entry = place
    child = int(table[row, node, entry])
    if child < NONE:
        why = f"{NONE} stands for no child, and no number is below it"
    elif child >= table.shape[1]:
        why = f"but there are {table.shape[1]} nodes, counted from 0"
    elif child == node:
        why = "but a node cannot be its own child"
    else:
        why = "but children come before their parent: number the nodes in post-order, the root last"
    return f"input '{name}' has {child} in row {row} at node {node}, entry {entry}; {why}"
