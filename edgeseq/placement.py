"""What `edgeseq doctor` tells of a model on a device: the nodes that stay on the CPU, and CUDA graphs."""

from typing import TYPE_CHECKING

from edgeseq_runtime.capture import CPU, Assignment, Capture

if TYPE_CHECKING:
    from edgeseq_runtime.model import Model


def lines(model: "Model") -> tuple[str, ...]:
    """Of a loaded model; none where it runs on the CPU."""
    session = model._session
    provider = session.providers[0]
    if provider == CPU:
        return ()
    signature = model.signature
    lengths = [t.name for t in signature.inputs if t.of is not None]
    changing = [t.name for t in (*signature.inputs, *(s.input_tensor for s in signature.states))]
    return described(provider, session.assignment(), session.capture(lengths, changing))


def described(provider: str, assigned: Assignment | None, capture: Capture) -> tuple[str, ...]:
    """Where the nodes of a session on `provider` run, and whether its runs are captured."""
    graphs = f"CUDA graphs: {'may be used' if capture.used else 'not used'}: {capture.reason}"
    if assigned is None:
        return "nodes on the CPU: this onnxruntime does not say; 1.24 and newer do", graphs
    total = sum(map(len, assigned.values()))
    elsewhere = [f"{op} '{name}'" for other, nodes in assigned.items() if other != provider for op, name in nodes]
    if not elsewhere:
        return f"nodes on the CPU: none of {total}", graphs
    return f"nodes on the CPU: {len(elsewhere)} of {total}: {', '.join(elsewhere)}", graphs
