"""Recursive layers over trees: level by level in torch, node by node in ONNX.

A tree is nodes in an order in which children come before their parent, with a table int64 (batch, nodes, children) of
every node's children, -1 for none.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from edgeseq_export.ops.layer import Layer
from edgeseq_export.ops.recurrence import recur

TreeCell = Literal["treernn", "treelstm"]


class TreeRNNStep(nn.Module):
    """One node of a recursive network (Socher et al. 2011), with the same weights for every child.

    h = tanh(W x + b + Σ U h_k), summed over the children k.
    """

    memories = 1

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.u = nn.Linear(hidden_size, hidden_size, bias=False)

    def forward(self, driven: Tensor, h: Tensor) -> tuple[Tensor]:
        """driven: W x + b, (nodes, hidden). h: of the children, (nodes, children, hidden), zeros for none."""
        return (torch.tanh(driven + self.u(h.sum(1))),)

    def leaves(self, driven: Tensor) -> tuple[Tensor]:
        """The same of nodes that have no children."""
        return (torch.tanh(driven),)


class TreeLSTMStep(nn.Module):
    """One node of a child-sum Tree-LSTM (Tai, Socher and Manning 2015, equations 2 to 8)."""

    memories = 2

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.u = nn.Linear(hidden_size, 3 * hidden_size, bias=False)
        self.u_f = nn.Linear(hidden_size, hidden_size, bias=False)

    def forward(self, driven: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """The node's h and c, (nodes, hidden).

        driven: W x + b of the gates i, o, u and f, (nodes, 4 · hidden). h, c: of the children, (nodes, children,
        hidden), zeros for none.
        """
        hidden = h.shape[-1]
        f = torch.sigmoid(driven[:, None, 3 * hidden :] + self.u_f(h))
        return _gated(driven[:, : 3 * hidden] + self.u(h.sum(1)), (f * c).sum(1))

    def leaves(self, driven: Tensor) -> tuple[Tensor, Tensor]:
        """The same of nodes that have no children."""
        hidden = self.u_f.in_features
        return _gated(driven[:, : 3 * hidden], driven.new_zeros(()))


def _gated(gates: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
    """Its h and c from the gates i, o and u before their activation, and what the forget gates kept of the children."""
    i, o, u = gates.chunk(3, -1)
    c = torch.sigmoid(i) * torch.tanh(u) + kept
    return torch.sigmoid(o) * torch.tanh(c), c


_GATES = {"treernn": 1, "treelstm": 4}


class TreeLayer(Layer):
    """A recursive layer over batches of trees, all nodes of the same height of the whole batch at once.

    Args:
        cell: "treernn" or "treelstm". input_size: features a node. hidden_size: units.
    """

    def __init__(self, cell: TreeCell, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.cell: TreeCell = cell
        self.hidden_size = hidden_size
        self.drive = nn.Linear(input_size, _GATES[cell] * hidden_size)
        self.step: TreeRNNStep | TreeLSTMStep
        self.step = TreeLSTMStep(hidden_size) if cell == "treelstm" else TreeRNNStep(hidden_size)
        if cell == "treelstm":
            nn.init.ones_(self.drive.bias[3 * hidden_size :])  # the forget gate starts open

    def forward(self, x: Tensor, children: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Run over a batch of trees.

        Args:
            x: (batch, nodes, features).
            children: int64 (batch, nodes, children), each -1 or the number of an earlier node.
            lengths: int64 (batch,), how many nodes each tree has; None: all of them.

        Returns: h of every node, (batch, nodes, hidden), zeros behind a tree's end.
        """
        batch, nodes, _ = x.shape
        flat, table = x.flatten(0, 1), numbered(present(children, lengths))
        place = torch.zeros(batch * nodes + 1, dtype=torch.int64, device=x.device)  # row 0 of a memory is no node's
        memories = [x.new_zeros(1, self.hidden_size)] * self.step.memories
        for height, rows in enumerate(levels(table, nodes, lengths)):
            driven = self.drive(flat.index_select(0, rows))
            if height:
                given = place[table[rows]]
                new = self.step(driven, *(_rows(memory, given) for memory in memories))
            else:
                new = self.step.leaves(driven)
            place[rows] = torch.arange(len(rows), device=x.device) + len(memories[0])
            memories = [torch.cat([memory, state]) for memory, state in zip(memories, new, strict=True)]
        return _rows(memories[0], place[:-1].view(batch, nodes))

    def stepped(self) -> "TreeSteps":
        """The same layer, node by node."""
        return TreeSteps(self)


class TreeSteps(nn.Module):
    """What stands in a TreeLayer's place while it is exported: node by node, through a memory of all nodes."""

    def __init__(self, layer: TreeLayer) -> None:
        super().__init__()
        self.hidden_size = layer.hidden_size
        self.drive = layer.drive
        self.step = MemoryStep(layer.step)

    def forward(self, x: Tensor, children: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Shapes as in TreeLayer."""
        batch, nodes, _ = x.shape
        row, node = torch.arange(batch, device=x.device), torch.arange(nodes, device=x.device)
        children = present(children, lengths)
        # where there is no child a node is given its own entry, which is still zeros when it is read
        places = torch.where(children < 0, node[:, None], children) + nodes * row[:, None, None]
        memories = (x.new_zeros(batch, nodes, self.hidden_size),) * self.step.memories
        driven, places = self.drive(x).transpose(0, 1), places.transpose(0, 1)
        inputs = (driven, places, row.expand(nodes, batch), node[:, None].expand(nodes, batch))
        # no lengths: what is written behind a tree's end is read by none of its nodes
        (h, *_), _ = recur(self.step, memories, inputs)
        if lengths is None:
            return h
        return torch.where((node < lengths[:, None])[:, :, None], h, h.new_zeros(()))  # a product would keep a NaN


class MemoryStep(nn.Module):
    """One node of every tree in a batch: reads its children's entries of the memories and writes its own."""

    def __init__(self, step: TreeRNNStep | TreeLSTMStep) -> None:
        super().__init__()
        self.step = step
        self.memories = step.memories

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """The memories with the node's entry written.

        tensors: the memories, each (batch, nodes, hidden); then W x + b (batch, gates · hidden); int64: the children's
        places (batch, children), counted through the batch; the row and the node, (batch,) each.
        """
        *memories, driven, places, row, node = tensors
        new = self.step(driven, *(_rows(memory.flatten(0, 1), places) for memory in memories))
        return tuple(memory.index_put((row, node), state) for memory, state in zip(memories, new, strict=True))


def _rows(memory: Tensor, rows: Tensor) -> Tensor:
    """Rows of a memory (…, hidden); index_select, whose gradient is several times faster than that of memory[rows]."""
    return memory.index_select(0, rows.flatten()).view(*rows.shape, -1)


def present(children: Tensor, lengths: Tensor | None) -> Tensor:
    """The table (batch, nodes, children) without what stands behind a tree's end, where anything may stand."""
    if lengths is None:
        return children
    valid = torch.arange(children.shape[1], device=children.device) < lengths[:, None]
    return torch.where(valid[:, :, None], children, -1)


def numbered(children: Tensor) -> Tensor:
    """The table as (batch · nodes, children) with the nodes of a batch counted through; -1 becomes batch · nodes."""
    batch, nodes, _ = children.shape
    first = torch.arange(batch, device=children.device)[:, None, None] * nodes
    return torch.where(children < 0, batch * nodes, children + first).flatten(0, 1)


def levels(table: Tensor, nodes: int, lengths: Tensor | None) -> list[Tensor]:
    """The nodes of each height, leaves first, as `numbered` counts them; those behind a tree's end are left out.

    A leaf has height 0, any other node one more than the highest of its children.
    """
    heights = table.new_zeros(len(table) + 1)
    heights[-1] = -1  # of no child
    parents = (table < len(table)).any(1).nonzero().squeeze(1)
    for _ in range(nodes):
        raised = heights[table[parents]].amax(1) + 1
        if torch.equal(raised, heights[parents]):
            break
        heights[parents] = raised
    if lengths is not None:
        behind = torch.arange(nodes, device=table.device) >= lengths[:, None]
        heights[:-1].masked_fill_(behind.flatten(), -1)
    order = torch.argsort(heights, stable=True)
    return list(torch.split(order, torch.bincount(heights + 1).tolist()))[1:]
