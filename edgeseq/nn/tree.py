"""The tree family: recursive networks over trees given as nodes and a table of their children.

Socher et al., "Parsing Natural Scenes and Natural Language with Recursive Neural Networks", 2011; Tai, Socher and
Manning, "Improved Semantic Representations From Tree-Structured Long Short-Term Memory Networks", 2015.
"""

from dataclasses import dataclass
from typing import Any, Literal

from edgeseq_export.ops.tree import TreeLayer
from edgeseq_runtime.errors import UsageError
from edgeseq_runtime.signature import BATCH, TIME, Kind, Limit, Signature
from edgeseq_runtime.signature import Tensor as TensorSpec
from edgeseq_runtime.table import check_table
from torch import Tensor, nn

from edgeseq.data import Dataset
from edgeseq.nn.family import Batch, Hints
from edgeseq.nn.network import check_choice, check_common, check_positive, last_step
from edgeseq.nn.reader import Reader

CHILDREN = "children"


@dataclass(frozen=True)
class TreeConfig:
    """How a tree network is built.

    input_size: features a node. output_size: classes, or values.
    arity: the most children of a node in the training data; the network takes any number.
    cell: the recursive network's tanh, or the child-sum Tree-LSTM. num_layers: layers over each other, each over the
        whole tree.
    head: "last", one answer a tree, from its root, which is the last node; or "step", one answer a node.
    task: "classify" gives logits and probabilities; "forecast" gives values in the data's own units.
    standardise: whether features (and values) are standardised in the network, by the training data's statistics.
    vocabulary_size, embedding_size: where nodes are token ids, embedded before the first layer.
    """

    input_size: int
    output_size: int
    arity: int = 2
    cell: Literal["treernn", "treelstm"] = "treelstm"
    hidden_size: int = 128
    num_layers: int = 1
    dropout: float = 0.0
    head: Literal["last", "step"] = "last"
    task: Literal["classify", "forecast"] = "classify"
    standardise: bool = True
    vocabulary_size: int | None = None
    embedding_size: int = 32

    def __post_init__(self) -> None:
        check_common(self)
        check_choice("cell", self.cell, ("treernn", "treelstm"))
        check_choice("head", self.head, ("last", "step"))
        check_choice("task", self.task, ("classify", "forecast"))
        check_positive(self, "input_size", "arity", "hidden_size", "num_layers", "embedding_size")
        if self.vocabulary_size is not None and self.vocabulary_size < 2:
            raise UsageError(f"vocabulary_size is {self.vocabulary_size}, but at least 2 tokens are needed")


class Tree(Reader):
    """A stack of recursive layers between node features (or an embedding of tokens) and a head.

    Inputs: `x` float32 (batch, time, input_size), or `tokens` int64 (batch, time), one entry a node, children before
    their parent, the root last; `children` int64 (batch, time, children), each -1 or the index of an earlier node;
    `lengths` int64 (batch,), the nodes of each tree.
    """

    def __init__(self, config: TreeConfig, hints: Hints | None = None) -> None:
        super().__init__(config, hints, "tree")
        sizes = [self.width] + [config.hidden_size] * (config.num_layers - 1)
        self.layers = nn.ModuleList(TreeLayer(config.cell, size, config.hidden_size) for size in sizes)
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(config.hidden_size, config.output_size)

    @classmethod
    def sizes(cls, data: Dataset) -> dict[str, Any]:
        """Features or tokens, classes or values, and the most children a node has.

        Raises:
            UsageError: no table of children, or x is neither features nor tokens. InputError: a malformed one.
        """
        if CHILDREN not in data.more or data.more[CHILDREN].ndim != 3:
            raise UsageError(
                f"trees need '{CHILDREN}', whole numbers (trees, nodes, children) beside x: the indices of each node's "
                "children, -1 for none"
            )
        check_table(CHILDREN, data.more[CHILDREN], data.lengths)
        return {**super().sizes(data), "arity": data.more[CHILDREN].shape[2]}

    def forward(
        self,
        children: Tensor,
        lengths: Tensor | None = None,
        x: Tensor | None = None,
        tokens: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Outputs by the signature's names."""
        h = self.embed(x, tokens)
        for index, layer in enumerate(self.layers):
            h = layer(self.dropout(h) if index else h, children, lengths)
        if self.config.head == "last":
            h = last_step(h, lengths)
        return self.answer(self.head(self.dropout(h)))

    def signature(self) -> Signature:
        """What goes in and out, with the hints of the training data."""
        config = self.config
        main = self.main_input()
        children = TensorSpec(CHILDREN, "int64", (BATCH, TIME, CHILDREN), earlier=True)
        kind: Kind = "step" if config.head == "step" else "sequence"
        return Signature(
            inputs=(main, children, TensorSpec("lengths", "int64", (BATCH,), of=main.name)),
            outputs=self.answers(kind),
            limits={BATCH: Limit(), TIME: Limit(), CHILDREN: Limit()},
            typical={**self.hints.typical, CHILDREN: config.arity},
            streamable=False,
            reason="the nodes of a tree refer to each other by their place in the whole",
        )

    def inputs(self, batch: Batch) -> dict[str, Tensor]:
        """The batch by the signature's input names; data may keep its tables in fewer bytes."""
        given = super().inputs(batch)
        return {**given, CHILDREN: given[CHILDREN].long()}
