"""ONNX files as another exporter would write them, made by hand: y = tanh(x · W), without a contract."""

from collections.abc import Sequence

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

WEIGHT = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)


class Layer(nn.Module):
    """What the files are made from. x: (batch, time, 4), y: (batch, time, 3)."""

    def __init__(self, factor: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.from_numpy(WEIGHT * np.float32(factor)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """One answer a step."""
        return torch.tanh(x @ self.weight)


def foreign(
    axes: Sequence[int | str] = ("batch", "time", 4),
    *,
    name: str = "x",
    output: str = "y",
    factor: float = 1.0,
    reshaped: int | None = None,
    dtype: int = TensorProto.FLOAT,
    more: Sequence[str] = (),
) -> bytes:
    """The bytes of such a file.

    axes: as the file declares them. reshaped: a time axis that is frozen where nobody sees it, in a Reshape.
    more: further outputs, each a copy of the answer.
    """
    weight = (WEIGHT * np.float32(factor)).astype(helper.tensor_dtype_to_np_dtype(dtype))
    constants = [numpy_helper.from_array(weight, "w")]
    nodes = []
    given = name
    if reshaped is not None:
        constants.append(numpy_helper.from_array(np.array([-1, reshaped, 4]), "shape"))
        nodes.append(helper.make_node("Reshape", [name, "shape"], ["cut"]))
        given = "cut"
    nodes += [helper.make_node("MatMul", [given, "w"], ["product"]), helper.make_node("Tanh", ["product"], [output])]
    nodes += [helper.make_node("Identity", [output], [each]) for each in more]
    graph = helper.make_graph(
        nodes,
        "layer",
        [helper.make_tensor_value_info(name, dtype, axes)],
        [helper.make_tensor_value_info(each, dtype, [axes[0], axes[1], 3]) for each in (output, *more)],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content
