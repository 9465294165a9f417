"""The proof: every case of the grid through the runtime's own loader, judged by PyTorch, and the proof of the proof."""

import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from edgeseq_runtime import golden, load
from edgeseq_runtime.compare import Comparison, ParityReport, compare
from edgeseq_runtime.errors import LongInputWarning, ProviderError, UsageError
from edgeseq_runtime.model import Model
from edgeseq_runtime.providers import present
from edgeseq_runtime.signature import BATCH, TIME, Signature, Tensor
from numpy.typing import NDArray

from edgeseq_export.grid import Case, cases
from edgeseq_export.mutant import mutant
from edgeseq_export.reference import Reference, Truth
from edgeseq_export.source import Progress, Source, silent

Array = NDArray[Any]

DEFAULT_TOLERANCE = 1e-5
"""Relative to an output's root mean square, where a file has no contract to say it."""

SCORES = "scores"
"""The output that says how likely each sequence is that was generated."""

NEARLY = 4.0
"""An output that is off by at most so many times its bound is compared again, with a bound that is known better."""

MOVES = 100.0
"""Between two inputs an output must move by this many times its bound, or comparing it would prove nothing."""


def verify(
    file: str | os.PathLike[str] | bytes,
    source: Source,
    *,
    providers: Sequence[str] | None = None,
    progress: Progress = silent,
) -> ParityReport:
    """Compare an ONNX file with the network it was made from.

    Args:
        file: a path, or the file's bytes.
        source: the network; it is the judge, in float64.
        providers: short names of the execution providers to run on; None: every one present.
        progress: told after each case.

    Returns: a report with one comparison for each provider, case and output. It does not pass where an output does
        not move between inputs, or where a copy of the file with a changed weight passes too.

    Raises:
        UsageError: the file and the network do not have the same inputs and outputs.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LongInputWarning)  # a proof goes beyond what was trained on
        return _verified(file, source, providers, progress)


def _verified(
    file: str | os.PathLike[str] | bytes, source: Source, providers: Sequence[str] | None, progress: Progress
) -> ParityReport:
    content = file if isinstance(file, bytes) else None
    models = list(_load_each(file, providers))
    _check_same_network(models[0], source.signature, source.name)
    contract = models[0].contract
    reference = Reference(source.module, contract.tolerance if contract else DEFAULT_TOLERANCE)
    plan = cases(contract.signature, contract.steps) if contract else cases(source.signature)
    comparisons: list[Comparison] = []
    for number, case in enumerate(plan):
        comparisons += compare_case(case, number, models, source, reference)
        progress(number + 1, len(plan) + 1, f"{case.name}")
    problems = [*_motionless(plan, source.signature, reference)]
    if all(c.passed for c in comparisons):
        changed = mutant(content if content is not None else Path(str(file)).read_bytes())
        if changed is not None and _passes(
            load(changed.content, provider=models[0].provider.name), plan, source, reference
        ):
            problems.append(
                f"a copy with the weight '{changed.weight}' changed by 1 % passes too: the proof is blind to it"
            )
    progress(len(plan) + 1, len(plan) + 1, "the proof of the proof")
    return ParityReport(models[0].name, f"{source.name} in PyTorch, float64", tuple(comparisons), tuple(problems))


def _load_each(file: str | os.PathLike[str] | bytes, providers: Sequence[str] | None) -> Iterator[Model]:
    """The file on each provider that was named; or on each that is present and comes up, the CPU at least."""
    for name in providers if providers is not None else present():
        try:
            yield load(file, provider=name)
        except ProviderError:
            if providers is not None or name == "cpu":
                raise


def compare_case(
    case: Case, seed: int, models: Sequence[Model], source: Source, reference: Reference
) -> Iterator[Comparison]:
    """Run one case on every model and compare every output and next state with the truth.

    Where an output is off by a little more than a few copies of the network tell PyTorch's own error to be, more are
    asked.
    """
    inputs, truth = reference.decided(lambda attempt: case.inputs(source.signature, seed + 1000 * attempt))
    for model in models:
        actual = _whole(model, source, inputs) if case.chunk is None else _chunks(model, inputs, case.chunk)
        comparisons = _compare_outputs(case, model, source, actual, truth)
        if any(not c.passed and c.max_abs <= NEARLY * c.bound for c in comparisons):
            comparisons = _compare_outputs(case, model, source, actual, reference(inputs, thorough=True))
        yield from comparisons


def _compare_outputs(
    case: Case, model: Model, source: Source, actual: Mapping[str, Array], truth: Mapping[str, Truth]
) -> list[Comparison]:
    tensors, provider = golden.comparable(source.signature), model.provider.name
    return [
        _with_scores(
            compare(case.name, tensors[name], provider, values, truth[name].values, truth[name].bound), actual, truth
        )
        for name, values in actual.items()
    ]


def _with_scores(comparison: Comparison, actual: Mapping[str, Array], truth: Mapping[str, Truth]) -> Comparison:
    """Where a sequence differs, beside its first difference also the scores that file and network give it."""
    if not comparison.first or SCORES not in actual:
        return comparison
    scores, true_scores = actual[SCORES], truth[SCORES].values
    if scores.shape != actual[comparison.output].shape[:-1]:  # of something else
        return comparison
    differs = np.argwhere((actual[comparison.output] != truth[comparison.output].values).any(-1))[0]
    place = tuple(differs.tolist())
    told = f"{comparison.first}; its score is {scores[place]:.7g}, and {true_scores[place]:.7g} in PyTorch"
    return replace(comparison, first=told)


def _whole(model: Model, source: Source, inputs: Mapping[str, Array]) -> dict[str, Array]:
    if model.contract is None:  # a foreign file fills in nothing by itself
        batch = next(iter(inputs.values())).shape[0]
        states = {s.input: np.zeros(s.shape({"batch": batch}), s.dtype) for s in source.signature.states}
        states.update({name: np.repeat(value, batch, axis=1) for name, value in source.initial.items()})
        inputs = {**states, **inputs}
    return model.run(inputs, states=True)


def _chunks(model: Model, inputs: Mapping[str, Array], chunk: int) -> dict[str, Array]:
    """The outputs of a stream fed piecewise, put together as if the sequence had been run whole."""
    signature = model.signature
    steps = {t.name: inputs[t.name] for t in signature.inputs if t.of is None and TIME in t.axes}
    first = next(iter(steps.values()))
    batch, time = first.shape[0], first.shape[1]
    stream = model.stream(batch)
    pieces: dict[str, list[Array]] = {t.name: [] for t in signature.outputs}
    for start in range(0, time, chunk):
        part = {name: array[:, start : start + chunk] for name, array in steps.items()}
        outputs = stream.step({name: a[:, 0] for name, a in part.items()}) if chunk == 1 else stream.run(part)
        for tensor in signature.outputs:
            value = outputs[tensor.name]
            pieces[tensor.name].append(value[:, None] if chunk == 1 and tensor.kind == "step" else value)
    whole = {
        t.name: np.concatenate(pieces[t.name], 1) if t.kind == "step" else pieces[t.name][-1] for t in signature.outputs
    }
    after = stream.state.arrays
    return {**whole, **{s.output: after[s.input] for s in signature.states}}


def _motionless(plan: Sequence[Case], signature: Signature, reference: Reference) -> Iterator[str]:
    """Outputs that stay where they are whatever comes in.

    Ragged rows are left aside, as padding that ends elsewhere moves by that alone; but a whole number a row, such as
    how long an answer is, has no padding, and may depend on nothing but the lengths.
    """
    still = list(signature.outputs)
    nearest: dict[str, tuple[float, float]] = {}
    for case in (case for case in plan if case.chunk is None and case.batch > 1):
        asked = [tensor for tensor in still if not case.ragged or _is_count(tensor)]
        if not asked:
            continue
        one, two = (reference(case.inputs(signature, seed)) for seed in (1001, 2002))
        for tensor in asked:
            moved, needed = _distance(one[tensor.name], two[tensor.name]), MOVES * one[tensor.name].bound
            if moved > 0 and moved >= needed:
                still.remove(tensor)
            elif tensor.name not in nearest or moved - needed > nearest[tensor.name][0] - nearest[tensor.name][1]:
                nearest[tensor.name] = moved, needed
    for tensor in still:
        moved, needed = nearest[tensor.name]
        yield (
            f"output '{tensor.name}' moved by {moved:.2g} between two inputs, but comparing it needs "
            f"{f'at least {needed:.2g}' if needed else 'more'}: draw the inputs at the data's scale (`draw` in the "
            "contract), or train the network longer"
        )


def _is_count(tensor: Tensor) -> bool:
    """Whether an output is a whole number a row."""
    return tensor.axes == (BATCH,) and np.issubdtype(np.dtype(tensor.dtype), np.integer)


def _distance(one: Truth, other: Truth) -> float:
    return float(np.max(np.abs(one.values.astype(np.float64) - other.values), initial=0.0))


def _passes(model: Model, plan: Sequence[Case], source: Source, reference: Reference) -> bool:
    """Whether every case passes; stops at the first that does not."""
    return all(
        comparison.passed
        for number, case in enumerate(plan)
        for comparison in compare_case(case, number, [model], source, reference)
    )


def _check_same_network(model: Model, signature: Signature, source_name: str) -> None:
    for what, given, expected in (
        ("inputs", _inputs(model.signature), _inputs(signature)),
        ("outputs", golden.comparable(model.signature), golden.comparable(signature)),
    ):
        if model.contract is None:  # a foreign file's axes may have other names
            same = set(given) == set(expected)
        else:
            same = {name: t.axes for name, t in given.items()} == {name: t.axes for name, t in expected.items()}
        if not same:
            raise UsageError(
                f"{model.name} and {source_name} are different networks: the file's {what} are {_told(given)}, "
                f"the reference's are {_told(expected)}"
            )


def _inputs(signature: Signature) -> dict[str, Tensor]:
    return {**{t.name: t for t in signature.inputs}, **{s.input: s.input_tensor for s in signature.states}}


def _told(tensors: Mapping[str, Tensor]) -> str:
    return ", ".join(f"{name} ({', '.join(map(str, t.axes))})" for name, t in tensors.items())
