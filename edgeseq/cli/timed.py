"""The call that `bench --against` times beside a model's own: another ONNX file's, or PyTorch's, eager."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import edgeseq_runtime
from edgeseq_runtime.measure import Call, model_call, whole_inputs

from edgeseq.cli.output import needing

if TYPE_CHECKING:
    from edgeseq_runtime import Model


def reference_call(
    path: Path, model: "Model", sizes: Mapping[str, int], stream: bool, provider: str, threads: int
) -> Call:
    """The same call of another ONNX file, or of a checkpoint in PyTorch, eager, with its states carried."""
    if path.suffix.lower() == ".onnx":
        return model_call(edgeseq_runtime.load(path, provider=provider, threads=threads, sizes=sizes), sizes, stream)
    return _torch_call(path, model, sizes, stream, threads)


def _torch_call(path: Path, model: "Model", sizes: Mapping[str, int], stream: bool, threads: int) -> Call:
    with needing("export"):
        import torch

        from edgeseq.opening import open_reference
    source = open_reference(path, model.contract)
    torch.set_num_threads(threads)
    inputs = {name: torch.from_numpy(array) for name, array in whole_inputs(source.signature, sizes).items()}
    carried: dict[str, Any] = {}

    def call() -> None:
        with torch.inference_mode():
            outputs = source.module(**inputs, **carried)
        if stream:
            carried.update({s.input: outputs[s.output] for s in source.signature.states})

    return call
