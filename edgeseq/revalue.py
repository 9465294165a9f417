"""Other defaults for the named scalars of an ONNX file, such as a threshold: the graph stays, so its proof holds.

It needs onnx and no torch. That is why it is not part of edgeseq_export, most of which imports torch.
"""

import json
from collections.abc import Mapping
from typing import Any

import onnx
from edgeseq_runtime import golden
from edgeseq_runtime.contract import CONTRACT_KEY, GOLDEN_KEY
from edgeseq_runtime.errors import ContractError
from edgeseq_runtime.feed import checked_values
from edgeseq_runtime.seal import KEY, seal
from onnx import numpy_helper


def with_values(
    content: bytes, values: Mapping[str, float | int], provenance: Mapping[str, Any] | None = None, name: str = "model"
) -> bytes:
    """The same file with other defaults: in its contract and in its graph, with its hash renewed.

    Its test vectors keep the values they were made with.

    Args:
        content: the bytes of a file that edgeseq wrote.
        values: new defaults by name; a float becomes float32.
        provenance: entries to add to the contract's.
        name: what to call the file in messages.

    Raises:
        ContractError: the file has no contract. UsageError: it has no such value, or one of another type.
    """
    model = onnx.load_from_string(content)
    metadata = {entry.key: entry for entry in model.metadata_props}
    if CONTRACT_KEY not in metadata:
        raise ContractError(f"{name} has no contract, so it has no values; give a file that edgeseq wrote")
    contract = json.loads(metadata[CONTRACT_KEY].value)
    before = contract.get("values", {})
    arrays = checked_values(name, before, values)
    for tensor in model.graph.initializer:
        if tensor.name in arrays:
            tensor.CopyFrom(numpy_helper.from_array(arrays[tensor.name], tensor.name))
    contract["values"] = {**before, **{key: array.item() for key, array in arrays.items()}}
    contract["provenance"] = {**contract.get("provenance", {}), **(provenance or {})}
    metadata[CONTRACT_KEY].value = json.dumps(contract)
    if GOLDEN_KEY in metadata:
        cases, used = golden.unpack(metadata[GOLDEN_KEY].value)
        metadata[GOLDEN_KEY].value = golden.pack(cases, {**before, **used})
    for place in reversed(range(len(model.metadata_props))):
        if model.metadata_props[place].key == KEY.decode():
            del model.metadata_props[place]
    return seal(model.SerializeToString())
