"""Anything that can be exported, opened as a network with its signature: a file, or `package.module:factory`."""

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from edgeseq_export import Source
from edgeseq_export.sources.archive import Found, check_trusted, look
from edgeseq_export.sources.factory import importable_here, is_spec, load_factory
from edgeseq_export.sources.module import from_module
from edgeseq_export.sources.state_dict import input_spec, read
from edgeseq_export.sources.weights import Weights, as_weights, load_weights
from edgeseq_runtime.contract import Contract
from edgeseq_runtime.errors import DamagedFileError, FileError, UsageError
from edgeseq_runtime.signature import Axis, Signature
from torch import nn

from edgeseq import checkpoint
from edgeseq.nn import Hints, Network, with_settings


def open_source(
    path: str | Path,
    settings: Mapping[str, Any] | None = None,
    *,
    weights: str | Path | None = None,
    inputs: Sequence[str] = (),
    states: Mapping[str, str] | None = None,
    trust: bool = False,
) -> Source:
    """Open a network for export or as the judge of an exported file. Without `trust`, no code of a file is run.

    Args:
        path: a checkpoint of edgeseq; a state dict (`.pt`, `.safetensors`); `package.module:factory`; and, with
            `trust`, a TorchScript archive, a program of torch.export (`.pt2`), or a pickled network.
        settings: of a checkpoint, keys of the network's config to set anew, such as how a sequence is decoded, of those
            on which no weight hangs (`Family.export_settings`); of a state dict, what its weights do not tell
            (`edgeseq_export.sources.state_dict`).
        weights: of a factory: the file its weights are in.
        inputs, states: of a network that was not made with edgeseq: as `from_module` takes them.
        trust: the file's maker is known, so it may run code.

    Raises:
        MissingFileError, DamagedFileError, FileError: no such file, a damaged one, or none that can be exported.
        UnsafeFileError: opening it can run code that is in it, or unpack to what no memory holds.
        UsageError: a setting, weights, or an input that does not fit; or something that has to be said.
    """
    settings, states = settings or {}, states or {}
    if is_spec(str(path)):
        _refuse(settings, f"'{path}' is a factory, which has no settings to choose", "; let the factory choose them")
        module, notes = load_factory(str(path), weights)
        source = from_module(module, inputs=inputs, states=states)
        return _described(source, str(path), notes, {"kind": "factory", **_hash("weights_sha256", weights)})
    found = look(path)
    if weights is not None:
        raise UsageError(f"--weights are of package.module:factory, but '{path}' is {found.words}")
    if found.kind == "checkpoint":
        if inputs or states:
            raise UsageError(f"'{path}' is a checkpoint of edgeseq, which knows its inputs and states; leave them out")
        return _of_checkpoint(checkpoint.load(path), settings, found.path.name)
    check_trusted(found, trust)
    if found.kind in ("weights", "safetensors"):
        return _of_weights(found, *load_weights(path), settings, inputs, states)
    if found.kind == "module":
        content = _unpickled(found)
        if not isinstance(content, nn.Module):
            return _of_weights(found, *as_weights(content, f"'{path}'"), settings, inputs, states)
    _refuse(settings, f"'{path}' is {found.words}, which has no settings to choose", "")
    if found.kind == "module":
        source = from_module(content, inputs=inputs, states=states)
    elif found.kind == "torchscript":
        from edgeseq_export.sources.scripted import open_scripted

        source = open_scripted(found.path, inputs=inputs, states=states)
    elif found.kind == "program":
        from edgeseq_export.sources.program import open_program

        source = open_program(found.path, inputs=inputs, states=states)
    else:
        raise FileError(_no_source(found))
    return _described(source, found.path.name, (), {"kind": found.kind, **_hash("sha256", path)})


def open_reference(
    path: str | Path,
    contract: Contract | None,
    *,
    settings: Mapping[str, Any] | None = None,
    weights: str | Path | None = None,
    inputs: Sequence[str] = (),
    states: Mapping[str, str] | None = None,
    trust: bool = False,
) -> Source:
    """Open a network as what a file is compared with: settings, inputs and states are the contract's where not given.

    Raises:
        As `open_source`. UsageError: the contract's settings do not fit the network.
    """
    if not is_spec(str(path)) and look(path).kind == "checkpoint":
        loaded = checkpoint.load(path)
        known = {**contract.settings, **(contract.decoding or {})} if contract is not None else {}
        fitting = {key: value for key, value in known.items() if key in loaded.module.export_settings}
        return _of_checkpoint(loaded, {**fitting, **(settings or {})}, Path(path).name)
    said = contract.provenance.get("source", {}) if contract is not None else {}
    if contract is not None and contract.layout is not None and is_spec(str(path)):
        said = {"inputs": _as_in_the_graph(contract.signature, contract.layout["axes"])}
    return open_source(
        path,
        settings or said.get("settings"),
        weights=weights,
        inputs=inputs or said.get("inputs", ()),
        states=states or said.get("states", {}),
        trust=trust,
    )


def _as_in_the_graph(signature: Signature, axes: Mapping[str, Sequence[Axis]]) -> tuple[str, ...]:
    """What goes into a file of another exporter, as --input says it. axes: by name, where the graph has others."""
    laid = {t.name: ",".join(map(str, axes.get(t.name, t.axes))) for t in signature.inputs}
    return tuple(f"{t.name}:{t.dtype}[{laid[t.name]}]" for t in signature.inputs)


def source_of(
    network: Network, hints: Hints | None = None, provenance: Mapping[str, Any] | None = None, name: str = "net"
) -> Source:
    """A network of a family as a source.

    hints: what training learnt; the network's own where None. name: for messages.
    """
    hints = network.hints if hints is None else hints
    signature = _named(network.signature(), hints.features)
    return Source(
        module=network,
        signature=signature,
        family=network.family,
        task=network.task,
        name=name,
        form=network.recurrence,
        steps=None if signature.streamable or not network.fixes_axes else hints.longest,  # it takes no chunks
        fixes_axes=network.fixes_axes,
        labels=hints.labels,
        vocabulary=network.vocabulary(),
        initial=network.initial_values(),
        values=network.values(),
        decoding=network.decoding(),
        settings=network.settings(),
        provenance=provenance or {},
    )


def _of_checkpoint(loaded: checkpoint.Checkpoint, settings: Mapping[str, Any], name: str) -> Source:
    network = with_settings(loaded.module, settings) if settings else loaded.module
    known = {key: value for key, value in loaded.provenance.items() if key != "recipe"}
    return source_of(network, loaded.hints, {**known, "checkpoint_sha256": loaded.sha256}, name)


def _of_weights(
    found: Found,
    state: Weights,
    notes: Sequence[str],
    settings: Mapping[str, Any],
    inputs: Sequence[str],
    states: Mapping[str, str],
) -> Source:
    """The network that a state dict is of."""
    network, read_off = read(state, settings, f"'{found.path}'")
    source = from_module(network, inputs=inputs or (input_spec(network),), states=states)
    about = {"kind": "state dict", "settings": dict(settings), **_hash("sha256", found.path)}
    return _described(source, found.path.name, (*notes, *read_off), about)


def _described(source: Source, name: str, notes: Sequence[str], about: Mapping[str, Any]) -> Source:
    """The source under the name it was given by, with these notes before its own, in the contract too."""
    every = (*notes, *source.notes)
    said = {**source.provenance.get("source", {}), **about, "notes": list(every)}
    return replace(source, name=name, notes=every, provenance={**source.provenance, "source": said})


def _unpickled(found: Found) -> Any:
    """What a pickle holds, which may run code: its maker is trusted."""
    try:
        with importable_here(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of a class whose code has changed, and of itself
            return torch.load(found.path, map_location="cpu", weights_only=False)
    except (ModuleNotFoundError, AttributeError) as error:
        raise UsageError(
            f"'{found.path}' is the pickle of a class that cannot be found here: {error}. Run where its code can be "
            "imported"
        ) from error
    except Exception as error:  # torch and the file's own code may raise anything
        raise DamagedFileError(f"'{found.path}' cannot be opened: {type(error).__name__}: {error}") from error


def _refuse(settings: Mapping[str, Any], why: str, more: str) -> None:
    if settings:
        raise UsageError(f"{why}, but {', '.join(f'{key}={value}' for key, value in settings.items())} was given{more}")


def _no_source(found: Found) -> str:
    if found.kind == "onnx":
        return f"'{found.path}' is an ONNX file already: edgeseq run, verify and inspect open it"
    hint = ""
    if re.fullmatch(r"[\w.]+:[\w.]*", str(found.path)):
        hint = ". A factory is given as package.module:factory"
    return (
        f"'{found.path}' is {found.words}, which cannot be exported. What can: a checkpoint of edgeseq (.pt), a state "
        f"dict (.pt, .safetensors), package.module:factory, a TorchScript archive, a torch.export program (.pt2){hint}"
    )


def _hash(key: str, path: str | Path | None) -> dict[str, str]:
    return {} if path is None else {key: sha256(Path(path).read_bytes()).hexdigest()}


def _named(signature: Signature, features: Mapping[str, tuple[str, ...]]) -> Signature:
    """The signature with names for the features of each input that still has so many: a hop or a part may not."""
    inputs = (
        replace(t, features=features[t.name]) if t.axes[-1:] == (len(features.get(t.name, ())),) else t
        for t in signature.inputs
    )
    return replace(signature, inputs=tuple(inputs))
