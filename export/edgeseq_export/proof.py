"""The proof: every case of the grid through the runtime's own loader, judged by PyTorch, and the proof of the proof."""

import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from edgeseq_runtime import golden
from edgeseq_runtime.compare import Comparison, ParityReport, compare, refused
from edgeseq_runtime.errors import EdgeseqError, InputError, LongInputWarning, ProviderError, UsageError
from edgeseq_runtime.model import Model
from edgeseq_runtime.providers import present
from edgeseq_runtime.signature import BATCH, Signature, Tensor
from numpy.typing import NDArray

from edgeseq_export.grid import DEFAULT, Case, Grid
from edgeseq_export.match import Matched, match
from edgeseq_export.mutant import mutant
from edgeseq_export.peer import Peer, declared, opened, read
from edgeseq_export.reference import Reference, Truth
from edgeseq_export.source import Progress, Source, silent
from edgeseq_export.sources.call import Called
from edgeseq_export.worst_case import Keeper

Array = NDArray[Any]
File = str | os.PathLike[str] | bytes

DEFAULT_TOLERANCE = 1e-5
"""Relative to an output's root mean square, where a file has no contract to say it."""

SCORES = "scores"
"""The output that says how likely each sequence is that was generated."""

NEARLY = 4.0
"""An output that is off by at most so many times its bound is compared again, with a bound that is known better."""

MOVES = 100.0
"""Between two inputs an output must move by this many times its bound, or comparing it would prove nothing."""


@dataclass(frozen=True)
class Trial:
    """A file, what it is compared with, and at which sizes.

    subjects: the file on each provider. signature: of what is compared, by whose names all are called.
    told: what the reference is, for people. notes: how the two were put together.
    """

    subjects: tuple[Matched, ...]
    judge: Reference | Peer
    signature: Signature
    told: str
    notes: tuple[str, ...] = ()
    plan: tuple[Case, ...] = ()
    keep: Keeper | None = None


def verify(
    file: File,
    reference: Source | File,
    *,
    providers: Sequence[str] | None = None,
    tolerance: float | None = None,
    plan: Grid = DEFAULT,
    keep: Keeper | None = None,
    progress: Progress = silent,
) -> ParityReport:
    """Compare an ONNX file with the network it was made from, or with another ONNX file.

    Args:
        file: a path, or the file's bytes. Of any exporter: without a contract, inputs and outputs are matched by name
            and then by order.
        reference: the network, which is the judge in float64; or the other file, whose float32 answers are the judge,
            with a bound that is twice as wide (peer.py).
        providers: short names of the execution providers to run on; None: every one present.
        tolerance: of the bound, relative to an output's root mean square; the contract's, else 1e-5, where it is None.
        plan: the sizes to run at.
        keep: is shown every case, and holds the worst one in the end.
        progress: told after each case.

    Returns: a report with one comparison for each provider, case and output; what the runtime refuses has failed. It
        does not pass where an output does not move between inputs, or where a copy of the file with a changed weight
        passes too.

    Raises:
        UsageError: the two do not have the same inputs and outputs, or the network fails where it should be the judge.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LongInputWarning)  # a proof goes beyond what was trained on
        trial = prepare(file, reference, providers=providers, tolerance=tolerance, plan=plan, keep=keep)
        return _verified(read(file), trial, progress)


def prepare(
    file: File,
    reference: Source | File,
    *,
    providers: Sequence[str] | None = None,
    tolerance: float | None = None,
    plan: Grid = DEFAULT,
    keep: Keeper | None = None,
) -> Trial:
    """Open both, and say which input of the one is which of the other. Arguments as of `verify`."""
    if tolerance is not None and not 0 < tolerance < np.inf:
        raise UsageError(f"the tolerance is {tolerance}, but a number above 0 is expected")
    models = list(_load_each(file, providers))
    contract = models[0].contract
    asked = tolerance if tolerance is not None else contract.tolerance if contract else DEFAULT_TOLERANCE
    against = _against_source if isinstance(reference, Source) else _against_file
    trial = against(models, reference, asked)  # type: ignore[arg-type]  # each is given its own kind
    limited = contract or (trial.judge.contract if isinstance(trial.judge, Peer) else None)
    cases = plan.cases(limited.signature if limited else trial.signature, limited.steps if limited else None)
    notes = trial.notes if tolerance is None else (*trial.notes, f"the tolerance is {tolerance:g}, as was asked for")
    return replace(trial, plan=tuple(case for case in cases if _taken(case, trial, reference)), notes=notes, keep=keep)


def _taken(case: Case, trial: Trial, reference: Source | File) -> bool:
    """Whether both have what a case needs. A network that cuts its answer to the longest row never pads one alone."""
    if isinstance(reference, Source) and reference.cuts_rows and case.ragged and case.batch == 1:
        return False
    if case.random_states and not trial.signature.states:  # only the file has some, so nobody knows the truth
        return False
    whole = replace(case, chunk=None)  # what a stream is compared with
    if isinstance(trial.judge, Peer) and not trial.judge.takes(whole):
        return False
    return all(subject.takes(case) for subject in trial.subjects)


def _against_source(models: Sequence[Model], source: Source, tolerance: float) -> Trial:
    turned = source.module.plan.turned if isinstance(source.module, Called) else None
    subjects = tuple(match(model, source.signature, source.name, source.initial, turned) for model in models)
    told = f"{source.name} in PyTorch, float64"
    judge = Reference(source.module, tolerance)
    return Trial(subjects, judge, source.signature, told, subjects[0].matching.notes)


def _against_file(models: Sequence[Model], file: File, tolerance: float) -> Trial:
    """The signature is that of the file's contract, else of the other's, else what the session declares.

    Of two sessions it is that with more free axes: where only one of two files froze one, they differ.
    """
    first = models[0]
    other = opened(file, "cpu")
    if shared := {name: value for name, value in first.values.items() if name in other.values}:
        other = opened(file, "cpu", shared)
    signature, owner = declared(first), first.name
    if first.contract is None:
        theirs = declared(other)
        if other.contract is not None or _free(theirs) > _free(signature):
            signature, owner = theirs, other.name
    subjects = tuple(match(model, signature, owner) for model in models)
    judge = match(other, signature, owner)
    notes = (
        f"both are float32: the bound is twice that of a proof against PyTorch, of the tolerance {tolerance:g}",
        *subjects[0].matching.notes,
        *judge.matching.notes,
    )
    told = f"{other.name} in onnxruntime, float32"
    return Trial(subjects, Peer(read(file), judge, tolerance), signature, told, notes)


def _free(signature: Signature) -> int:
    return sum(isinstance(axis, str) for tensor in signature.inputs for axis in tensor.axes)


def _verified(content: bytes, trial: Trial, progress: Progress) -> ParityReport:
    plan, first = trial.plan, trial.subjects[0].model
    comparisons: list[Comparison] = []
    for number, case in enumerate(plan):
        comparisons += compare_case(case, number, trial)
        progress(number + 1, len(plan) + 1, f"{case.name}")
    problems = [*_motionless(trial)]
    if all(c.passed for c in comparisons):
        changed = mutant(content)
        if changed is not None and _passes(opened(changed.content, first.provider.name), trial):
            problems.append(
                f"a copy with the weight '{changed.weight}' changed by 1 % passes too: the proof is blind to it"
            )
    progress(len(plan) + 1, len(plan) + 1, "the proof of the proof")
    return ParityReport(first.name, trial.told, tuple(comparisons), tuple(problems), trial.notes)


def _load_each(file: File, providers: Sequence[str] | None) -> Iterator[Model]:
    """The file on each provider that was named; or on each that is present and comes up, the CPU at least."""
    for name in providers if providers is not None else present():
        try:
            yield opened(file, name)
        except ProviderError:
            if providers is not None or name == "cpu":
                raise


def compare_case(case: Case, seed: int, trial: Trial) -> Iterator[Comparison]:
    """Run one case on every provider and compare every output and next state with the truth."""
    drawn = seed

    def inputs_of(attempt: int) -> Mapping[str, Array]:
        nonlocal drawn
        drawn = seed + 1000 * attempt
        return case.inputs(trial.signature, drawn)

    try:
        inputs, truth = _asked(lambda: trial.judge.decided(inputs_of), trial, case.name)
    except InputError as refusal:
        yield from _unjudged(case, trial, f"{trial.told} refuses: {_line(refusal)}")
        return
    yield from compare_inputs(case.name, inputs, truth, trial, chunk=case.chunk, seed=drawn)


def compare_inputs(
    name: str,
    inputs: Mapping[str, Array],
    truth: Mapping[str, Truth],
    trial: Trial,
    *,
    chunk: int | None = None,
    seed: int | None = None,
) -> Iterator[Comparison]:
    """Run given inputs on every provider and compare every output and next state with the truth.

    Where an output is off by a little more than a few copies of the network tell PyTorch's own error to be, more are
    asked.
    """
    for subject in trial.subjects:
        try:
            actual, error = subject(inputs, chunk), ""
        except InputError as refusal:
            actual, error = {}, _line(refusal)
        comparisons = _compare_outputs(name, subject, trial, actual, truth, error)
        if not error and any(not c.passed and c.max_abs <= NEARLY * c.bound for c in comparisons):
            truth = trial.judge(inputs, thorough=True)
            comparisons = _compare_outputs(name, subject, trial, actual, truth, error)
        if trial.keep is not None:
            _show(name, comparisons, subject, trial, inputs, actual, truth, chunk, seed)
        yield from comparisons


def _compare_outputs(
    name: str, subject: Matched, trial: Trial, actual: Mapping[str, Array], truth: Mapping[str, Truth], error: str
) -> list[Comparison]:
    tensors, provider = golden.comparable(trial.signature), subject.model.provider.name
    outputs = [output for output in subject.matching.outputs if output in truth]
    if error:
        return [refused(name, tensors[o], provider, truth[o].values, truth[o].bound, error) for o in outputs]
    return [
        _with_scores(compare(name, tensors[o], provider, actual[o], truth[o].values, truth[o].bound), actual, truth)
        for o in outputs
    ]


def _show(
    name: str,
    comparisons: Sequence[Comparison],
    subject: Matched,
    trial: Trial,
    inputs: Mapping[str, Array],
    actual: Mapping[str, Array],
    truth: Mapping[str, Truth],
    chunk: int | None,
    seed: int | None,
) -> None:
    """Let the keeper see a case, by the file's own names and layout, so that it can be run again without PyTorch."""
    assert trial.keep is not None
    names, turned = subject.matching.outputs, subject.turned
    tensors = golden.comparable(trial.signature)
    place = {name: turned.get(name, 0) for name in names}
    moved = {n: np.moveaxis(truth[n].values, 0, place[n]) for n in names if n in truth}
    expected = {names[n]: golden.Expected(values, values.shape, 1, truth[n].bound) for n, values in moved.items()}
    trial.keep.see(
        [replace(c, output=names[c.output]) for c in comparisons],
        subject.model,
        golden.GoldenCase(name, subject.feeds(inputs), expected),
        {names[n]: np.moveaxis(array, 0, place[n]) for n, array in actual.items()},
        reference=trial.told,
        seed=seed,
        chunk=chunk,
        decisions=tuple(names[n] for n in names if tensors[n].decision),
    )


def _asked(
    ask: Callable[[], tuple[Mapping[str, Array], dict[str, Truth]]], trial: Trial, case: str
) -> tuple[Mapping[str, Array], dict[str, Truth]]:
    """What the judge says; a network that fails there is told in words."""
    try:
        return ask()
    except EdgeseqError:
        raise
    except (RuntimeError, ValueError, IndexError, TypeError, AssertionError, torch.jit.Error) as error:
        raise UsageError(
            f"{trial.told} itself fails in the case {case}: {_line(error)}. Say which sizes it takes, or choose others"
        ) from error


def _unjudged(case: Case, trial: Trial, error: str) -> Iterator[Comparison]:
    tensors = golden.comparable(trial.signature)
    for subject in trial.subjects:
        for name in subject.matching.outputs:
            provider = subject.model.provider.name
            yield refused(case.name, tensors[name], provider, np.zeros(0), float("nan"), error)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())


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


def _motionless(trial: Trial) -> Iterator[str]:
    """Outputs that stay where they are whatever comes in.

    Ragged rows are left aside, as padding that ends elsewhere moves by that alone; but a whole number a row, such as
    how long an answer is, has no padding, and may depend on nothing but the lengths.
    """
    compared = trial.subjects[0].matching.outputs
    still = [tensor for tensor in trial.signature.outputs if tensor.name in compared]
    nearest: dict[str, tuple[float, float]] = {}
    whole = [case for case in trial.plan if case.chunk is None]
    for case in [case for case in whole if case.batch > 1] or whole:
        asked = [tensor for tensor in still if not case.ragged or _is_count(tensor)]
        if not asked:
            continue
        try:
            one, two = (trial.judge(case.inputs(trial.signature, seed)) for seed in (1001, 2002))
        except InputError:  # of another file, which has failed by that
            continue
        for tensor in asked:
            moved, needed = _distance(one[tensor.name], two[tensor.name]), MOVES * one[tensor.name].bound
            if moved > 0 and moved >= needed:
                still.remove(tensor)
            elif tensor.name not in nearest or moved - needed > nearest[tensor.name][0] - nearest[tensor.name][1]:
                nearest[tensor.name] = moved, needed
    for tensor in still:
        if tensor.name not in nearest:  # nothing was run, which fails by that
            continue
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


def _passes(model: Model, trial: Trial) -> bool:
    """Whether every case passes; stops at the first that does not."""
    alone = replace(trial, subjects=(replace(trial.subjects[0], model=model),), keep=None)
    return all(
        comparison.passed for number, case in enumerate(alone.plan) for comparison in compare_case(case, number, alone)
    )
