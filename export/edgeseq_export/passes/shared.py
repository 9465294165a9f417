"""Keep one copy of weights that are stored twice, such as those of a step that is repeated in two places."""

from hashlib import sha256

import onnx_ir as ir


class Shared(ir.passes.InPlacePass):
    """Requires: initialisers are not graph inputs yet. Ensures: no two of more than one axis are equal."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite in place."""
        kept: dict[tuple[object, ...], ir.Value] = {}
        modified = False
        for name, value in list(model.graph.initializers.items()):
            tensor = value.const_value
            if tensor is None or len(tensor.shape) < 2 or value.is_graph_input() or value.is_graph_output():
                continue
            first = kept.setdefault((tensor.dtype, tuple(tensor.shape), sha256(tensor.tobytes()).digest()), value)
            if first is not value:
                ir.convenience.replace_all_uses_with(value, first)
                del model.graph.initializers[name]
                modified = True
        return ir.passes.PassResult(model, modified)
