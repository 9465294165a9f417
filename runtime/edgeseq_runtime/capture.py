"""Whether a session's runs may be captured as CUDA graphs. What a graph would freeze is never captured."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

Assignment = Mapping[str, Sequence[tuple[str, str]]]
"""The nodes of a session, (operator, name), by the execution provider that runs them, in onnxruntime's names."""

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"

OPTION = "enable_cuda_graph"
"""Of the CUDA provider. A session with it captures every run, so plain runs, whose arrays move, must not have it."""

CONTROL_FLOW = frozenset({"If", "Loop", "Scan"})


@dataclass(frozen=True)
class Capture:
    """Whether CUDA graphs are used, and why."""

    used: bool
    reason: str


def decide(
    provider: str, lengths: Collection[str], assigned: Assignment | None, places: Mapping[str, str | None]
) -> Capture:
    """Whether runs at fixed shapes may be captured.

    A captured graph repeats what the device did at the capture, with the values that the host had then: lengths,
    which the operators read on the host; branches and trip counts; all that the CPU provider computes.

    Args:
        provider: what runs the session, in onnxruntime's name.
        lengths: the inputs that are lengths.
        assigned: which provider runs which nodes; None where onnxruntime does not tell.
        places: on which device each input is read; None where onnxruntime does not tell.
    """
    if provider != CUDA:
        return Capture(False, f"CUDA graphs are for {CUDA}, and {provider} runs this")
    if lengths:
        return Capture(False, f"a captured graph would freeze '{min(lengths)}' at the value it had then")
    if assigned is None:
        return Capture(False, "this onnxruntime does not say which nodes run on the CPU; 1.24 and newer do")
    nodes = [(name, *node) for name, nodes in assigned.items() for node in nodes]
    if flow := [node for _, op, node in nodes if op in CONTROL_FLOW]:
        return Capture(False, f"control flow cannot be captured (node '{flow[0]}')")
    if elsewhere := [f"{op} '{node}'" for name, op, node in nodes if name != CUDA]:
        return Capture(False, f"what runs on the CPU cannot be captured: {_some(elsewhere)}")
    if unknown := [name for name, place in places.items() if place is None]:
        return Capture(False, f"onnxruntime does not say on which device it reads {_some(unknown)}")
    if host := [name for name, place in places.items() if place == "cpu"]:
        return Capture(False, f"a captured graph would freeze what is read on the host: {_some(host)}")
    return Capture(True, "every node runs on CUDA, every input is read there, and the shapes do not change")


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"
