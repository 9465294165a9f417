"""Declare the time axis of a file's inputs and outputs as fixed, as an unrolled file needs it."""

import onnx_ir as ir
from edgeseq_runtime.signature import TIME, Signature


class FixedTime(ir.passes.InPlacePass):
    """Requires: inputs and outputs in the signature's order. Ensures: their time axes are declared `steps` long."""

    def __init__(self, signature: Signature, steps: int) -> None:
        super().__init__()
        self._signature = signature
        self._steps = steps

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite in place."""
        inputs = zip(model.graph.inputs, self._signature.inputs, strict=False)
        outputs = zip(model.graph.outputs, self._signature.outputs, strict=False)
        for value, tensor in (*inputs, *outputs):
            sizes = [self._steps if axis == TIME else axis for axis in tensor.axes]
            value.shape = ir.Shape(sizes)
        return ir.passes.PassResult(model, True)
