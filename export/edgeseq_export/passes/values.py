"""Give named scalars their defaults, so that they need not be fed and can still be set when the file is loaded."""

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir


class Values(ir.passes.InPlacePass):
    """Requires: the scalars are graph inputs. Ensures: each is an overridable initialiser, its default in the file.

    Args:
        defaults: by input name; a float is float32, an int int64.
    """

    def __init__(self, defaults: Mapping[str, float | int]) -> None:
        super().__init__()
        self._defaults = defaults

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite in place."""
        inputs = {value.name: value for value in model.graph.inputs}
        for name, default in self._defaults.items():
            dtype = np.int64 if isinstance(default, int) else np.float32
            inputs[name].const_value = ir.tensor(np.array(default, dtype), name=name)
            model.graph.register_initializer(inputs[name])
        return ir.passes.PassResult(model, bool(self._defaults))
