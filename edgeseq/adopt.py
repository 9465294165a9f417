"""A contract for a file that edgeseq did not export: what was found of it is stored, so that a device need not guess.

It needs onnx and no torch. That is why it is not part of edgeseq_export, whose every import is one of torch.
"""

import warnings
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import edgeseq_runtime
import numpy as np
import onnx
from edgeseq_runtime import Contract, Model
from edgeseq_runtime.contract import CONTRACT_KEY, PRODUCER
from edgeseq_runtime.errors import GuessWarning, UsageError
from edgeseq_runtime.infer import Pair, fits, guesses
from edgeseq_runtime.seal import KEY, seal
from edgeseq_runtime.stems import alike
from edgeseq_runtime.wire import external_files
from onnx import numpy_helper

from edgeseq.graph_states import graph_pairs

FAMILY = "foreign"


def examined(
    content: bytes, states: Mapping[str, str] | None, values: Mapping[str, Any], name: str
) -> tuple[Model, tuple[Pair, ...]]:
    """A file without a contract, loaded with the states that its graph and its names show, and why these.

    Args:
        content: the file's bytes; name: what to call it in messages.
        states: outputs by inputs where they are known; values: inputs that are the same in every call.

    Raises:
        UsageError: the file has a contract, or is none that can be streamed, with the reason.
    """
    guessed = edgeseq_runtime.load(content, values=values, states=states)
    if guessed.contract is not None:
        raise UsageError(f"{name} has a contract already; nothing is to be found")
    if states is not None:
        return guessed, guessed.pairs
    shown = _fitting(guessed, graph_pairs(onnx.load_from_string(content)))
    taken = {p.output for p in shown.values()}
    by_names = [p for p in guessed.pairs if p.input not in shown and p.output not in taken]
    pairs = {**shown, **{p.input: p for p in by_names}}
    chosen = {p.input: p.output for p in pairs.values()}
    if not chosen:
        return guessed, ()
    return edgeseq_runtime.load(content, values=values, states=chosen), tuple(pairs.values())


def whole(path: Path) -> bytes:
    """A file's bytes, with the weights in them that its exporter put into files beside it, as PyTorch does."""
    content = path.read_bytes()
    if not external_files(content, path.name):
        return content
    embedded: bytes = onnx.load(path).SerializeToString()
    return embedded


def with_contract(
    content: bytes,
    states: Mapping[str, str] | None = None,
    values: Mapping[str, Any] | None = None,
    name: str = "model",
) -> bytes:
    """The same graph with a contract and a hash. Arguments and errors: as of `examined`.

    An input that is fixed by a whole number or a float32 becomes a named scalar that can be set anew, any other a
    constant.

    Warns:
        GuessWarning: which output is a state's next value was guessed from its shape and order alone.
    """
    model, pairs = examined(content, states, values or {}, name)
    signature = model.signature
    if not signature.streamable:
        raise UsageError(f"nothing is written for {name}: {signature.reason or 'no states were found in it'}")
    for guess in guesses(pairs, name):
        warnings.warn(guess, GuessWarning, stacklevel=2)
    file = onnx.load_from_string(content)
    settable = _fix(file, values or {})
    contract = Contract(
        signature=signature,
        family=FAMILY,
        task="stream",
        values=settable,
        layout=_layout(model),
        provenance={
            "source_sha256": sha256(content).hexdigest(),
            "producer": file.producer_name or "unknown",
            "edgeseq": edgeseq_runtime.__version__,
            "states": {p.input: f"{p.output}, by {p.why}{'' if p.sure else ', a guess'}" for p in pairs},
        },
    )
    for place in reversed(range(len(file.metadata_props))):
        if file.metadata_props[place].key in (CONTRACT_KEY, KEY.decode()):
            del file.metadata_props[place]
    file.metadata_props.add(key=CONTRACT_KEY, value=contract.to_json())
    file.producer_name = PRODUCER
    written = seal(file.SerializeToString())
    edgeseq_runtime.load(written)  # what cannot be opened is not written
    return written


def _layout(model: Model) -> dict[str, Any]:
    layout = model.layout
    if layout is None:  # a streamable file of another exporter always has one
        raise UsageError(f"{model.name} has no layout")
    return {"axes": {name: list(axes) for name, axes in layout.axes.items()}, "one_step": layout.one_step}


def _fitting(model: Model, shown: list[Pair]) -> dict[str, Pair]:
    """Of what the graph shows, the pairs whose shapes fit: one for each input, where names do not choose one, none."""
    declared = model.declared
    inputs, outputs = ({t.name: t for t in each} for each in (declared.inputs, declared.outputs))
    by_input: dict[str, list[Pair]] = {}
    for p in shown:
        if p.input in inputs and p.output in outputs and fits(inputs[p.input], outputs[p.output]):
            by_input.setdefault(p.input, []).append(p)
    found: dict[str, Pair] = {}
    for name, each in by_input.items():
        named = [p for p in each if alike(p.input, p.output, True)] if len(each) > 1 else each
        if len(named) == 1:
            found[name] = named[0]
    twice = [p.output for p in found.values()]
    return {name: p for name, p in found.items() if twice.count(p.output) == 1}


def _fix(file: onnx.ModelProto, values: Mapping[str, Any]) -> dict[str, float | int]:
    """Put fixed inputs into the graph; returns those that can be set anew."""
    settable: dict[str, float | int] = {}
    file.ir_version = max(file.ir_version, 4)  # before, an initializer could not be an input's default
    for value in list(file.graph.input):
        if value.name not in values:
            continue
        kind = value.type.tensor_type
        dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
        sizes = [dim.dim_value or 1 for dim in kind.shape.dim]
        array = np.asarray(values[value.name], dtype)
        if array.ndim == 0:
            array = np.full(sizes, array, dtype)
        file.graph.initializer.append(numpy_helper.from_array(array, value.name))
        if array.ndim == 0 and dtype in (np.int64, np.float32):
            settable[value.name] = array.item()
        else:
            file.graph.input.remove(value)
    return settable
