"""States that a network keeps to itself, made states of its file where that lets it stream, as its own answers tell."""

from collections.abc import Sequence
from dataclasses import replace

from edgeseq_runtime.contract import Contract
from edgeseq_runtime.errors import EdgeseqError
from edgeseq_runtime.signature import StatePair

from edgeseq_export.match import LIFTED
from edgeseq_export.proof import compare_case, prepare
from edgeseq_export.source import Source


def with_states(contract: Contract, pairs: Sequence[StatePair]) -> Contract:
    """The contract of a file that has these states, though its network takes and gives none of them."""
    signature = contract.signature
    carried = replace(signature, states=(*signature.states, *pairs), streamable=True, reason=None)
    return replace(
        contract, signature=carried, provenance={**contract.provenance, LIFTED: [pair.input for pair in pairs]}
    )


def why_not_carried(content: bytes, source: Source) -> str | None:
    """Why a file with states of its own does not stream as `source` answers whole sequences; None where it does."""
    try:
        trial = prepare(content, source, providers=["cpu"])
        for seed, case in enumerate(case for case in trial.plan if case.chunk is not None):
            if failed := next((c for c in compare_case(case, seed, trial) if not c.passed), None):
                return f"in chunks of {case.chunk} its output '{failed.output}' differs from that to the whole"
    except EdgeseqError as error:
        return str(error)
    return None
