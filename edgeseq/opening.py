"""Any path that can be exported, opened as a module with its signature."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgeseq_export import Source
from edgeseq_runtime.contract import Contract
from edgeseq_runtime.signature import Signature

from edgeseq import checkpoint
from edgeseq.nn import with_settings


def open_source(path: str | Path, settings: Mapping[str, Any] | None = None) -> Source:
    """Open a checkpoint (`.pt` of edgeseq) for export or as the judge of an exported file.

    Args:
        settings: keys of the network's config to set anew, such as how a sequence is decoded; of those on which no
            weight hangs (`Family.export_settings`).

    Raises:
        MissingFileError, DamagedFileError, UnsafeFileError, FileError: as `checkpoint.load`.
        UsageError: a setting that the network does not have, or a value that it does not take.
    """
    loaded = checkpoint.load(path)
    return _source(loaded, settings or {}, Path(path).name)


def open_reference(path: str | Path, contract: Contract | None) -> Source:
    """Open a checkpoint as what a file is compared with: with the settings that the file's contract says.

    Raises:
        MissingFileError, DamagedFileError, UnsafeFileError, FileError: as `checkpoint.load`.
        UsageError: the contract's settings do not fit the network.
    """
    loaded = checkpoint.load(path)
    given = {**contract.settings, **(contract.decoding or {})} if contract is not None else {}
    settings = {key: value for key, value in given.items() if key in loaded.module.export_settings}
    return _source(loaded, settings, Path(path).name)


def _source(loaded: checkpoint.Checkpoint, settings: Mapping[str, Any], name: str) -> Source:
    module = with_settings(loaded.module, settings) if settings else loaded.module
    known = {key: value for key, value in loaded.provenance.items() if key != "recipe"}
    signature = _named(module.signature(), loaded.hints.features)
    return Source(
        module=module,
        signature=signature,
        family=loaded.family,
        task=module.task,
        name=name,
        form=module.recurrence,
        steps=None if signature.streamable or not module.fixes_axes else loaded.hints.longest,  # it takes no chunks
        fixes_axes=module.fixes_axes,
        labels=loaded.hints.labels,
        vocabulary=module.vocabulary(),
        initial=module.initial_values(),
        values=module.values(),
        decoding=module.decoding(),
        settings=module.settings(),
        provenance={**known, "checkpoint_sha256": loaded.sha256},
    )


def _named(signature: Signature, features: Mapping[str, tuple[str, ...]]) -> Signature:
    """The signature with names for the features of each input that still has so many: a hop or a part may not."""
    inputs = (
        replace(t, features=features[t.name]) if t.axes[-1:] == (len(features.get(t.name, ())),) else t
        for t in signature.inputs
    )
    return replace(signature, inputs=tuple(inputs))
