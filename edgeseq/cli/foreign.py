"""Files that edgeseq did not export, on the command line: inputs that are fixed, states that are given or guessed."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import edgeseq_runtime
from edgeseq_runtime.errors import UsageError
from edgeseq_runtime.signature import TIME, Signature

from edgeseq.cli.settings import Settings, parse_settings, split_settings

if TYPE_CHECKING:
    from edgeseq_runtime import Model
    from edgeseq_runtime.threads import ThreadCount


def open_model(
    path: Path,
    provider: str,
    threads: "ThreadCount",
    settings: Sequence[str] | None,
    states: Sequence[str] | None,
    measured: Mapping[str, int] | None = None,
) -> tuple["Model", Mapping[str, int]]:
    """The model with its values, inputs and states as they were given, and the sizes that only what is drawn has.

    measured: the sizes at which auto times what there is, where they are not the typical ones.

    Raises:
        UsageError: what was given is not understood, or the file has no such thing.
    """
    given = parse_states(states)
    told = parse_settings(settings or [])
    values: Settings = told
    sizes: Mapping[str, int] = {}
    if told and (looked_at := edgeseq_runtime.load(path, provider="cpu", states=given)).contract is not None:
        values, sizes = split_settings(looked_at, told)
    loaded = edgeseq_runtime.load(path, provider=provider, threads=threads, values=values, states=given, sizes=measured)
    return loaded, sizes


def parse_states(given: Sequence[str] | None) -> dict[str, str] | None:
    """Each IN=OUT as an output by its input; None where there is none. Raises UsageError."""
    if not given:
        return None
    states: dict[str, str] = {}
    for item in given:
        before, equals, after = (part.strip() for part in item.partition("="))
        if not (equals and before and after):
            raise UsageError(f"--state {item!r} is not understood; write INPUT=OUTPUT, such as h=hn")
        if before in states:
            raise UsageError(f"--state {item!r}: '{before}' already becomes '{states[before]}'")
        states[before] = after
    return states


def new_samples(model: "Model", signature: Signature, context: int) -> Signature:
    """What is read for each step: without the samples of the chunk before, where these are part of a step."""
    if not context or model.layout is None or not model.layout.one_step:
        return signature
    inputs = (
        replace(t, axes=(*t.axes[:-1], t.axes[-1] - context))
        if TIME in t.axes and len(t.axes) > 2 and isinstance(t.axes[-1], int) and t.axes[-1] > context
        else t
        for t in signature.inputs
    )
    return replace(signature, inputs=tuple(inputs))
