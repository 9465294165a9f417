"""Take out what the tracer notes about the machine it ran on: source paths, stack traces, its own names."""

import onnx_ir as ir
from onnx_ir.passes.common import ClearMetadataAndDocStringPass

_PREFIX = "network."


class Anonymous(ir.passes.InPlacePass):
    """Requires: nothing.

    Ensures: no metadata, no doc strings, no names of nodes; initialisers are named as in the network.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Clear in place."""
        modified = ClearMetadataAndDocStringPass()(model).modified
        for name, value in list(model.graph.initializers.items()):
            if name.startswith(_PREFIX):
                value.name = name.removeprefix(_PREFIX)
                modified = True
        for node in ir.traversal.RecursiveGraphIterator(model.graph):
            node.name = ""
        return ir.passes.PassResult(model, modified)
