"""A saved case again, with a network or another file as the judge. Without one, `worst_case` runs it alone."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from edgeseq_runtime.compare import ParityReport
from edgeseq_runtime.errors import UsageError
from edgeseq_runtime.signature import BATCH, TIME, Signature
from numpy.typing import NDArray

from edgeseq_export.match import Matched
from edgeseq_export.proof import File, compare_inputs, prepare
from edgeseq_export.source import Source
from edgeseq_export.worst_case import Keeper, WorstCase, check_fits, told

Array = NDArray[Any]


def replay(
    file: File,
    reference: Source | File,
    worst: WorstCase,
    *,
    providers: Sequence[str] | None = None,
    tolerance: float | None = None,
    keep: Keeper | None = None,
) -> ParityReport:
    """Run a file and its reference on exactly the inputs of a saved case, and compare.

    Arguments and errors: as of `verify`.

    Raises:
        UsageError: the case is of a model with other inputs or outputs.
    """
    trial = prepare(file, reference, providers=providers, tolerance=tolerance, keep=keep)
    first = trial.subjects[0]
    check_fits(first.model, worst)
    inputs = _named(worst, first)
    truth = trial.judge(inputs, thorough=True)
    comparisons = compare_inputs(worst.case, inputs, truth, trial, chunk=worst.chunk, seed=worst.seed)
    return ParityReport(first.model.name, trial.told, tuple(comparisons), notes=(told(worst), *trial.notes))


def _named(worst: WorstCase, subject: Matched) -> dict[str, Array]:
    """The saved inputs by the signature's names, batch first and in its types; lengths that it lacks are whole."""
    signature = subject.signature
    dtypes = {t.name: t.dtype for t in (*signature.inputs, *(s.input_tensor for s in signature.states))}
    inputs = {
        name: np.ascontiguousarray(np.moveaxis(worst.inputs[each], subject.turned.get(name, 0), 0), dtypes[name])
        for name, each in subject.matching.inputs.items()
        if each in worst.inputs
    }
    return {**inputs, **_whole_lengths(signature, inputs)}


def _whole_lengths(signature: Signature, inputs: Mapping[str, Array]) -> dict[str, Array]:
    axes = {t.name: t.axes for t in signature.inputs}
    lengths = {}
    for tensor in signature.inputs:
        if tensor.of is None or tensor.name in inputs:
            continue
        if tensor.of not in inputs:
            raise UsageError(f"the saved case has no '{tensor.of}', which the reference takes")
        of, places = inputs[tensor.of], axes[tensor.of]
        size = of.shape[places.index(BATCH)]
        lengths[tensor.name] = np.full(size, of.shape[places.index(TIME)], tensor.dtype)
    return lengths
