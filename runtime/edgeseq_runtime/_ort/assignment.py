"""Which execution provider runs which node: onnxruntime puts nodes on the CPU without a word."""

from typing import Any

from edgeseq_runtime._ort import ORT_ERRORS
from edgeseq_runtime.capture import Assignment

_RECORD = "session.record_ep_graph_assignment_info"
"""A session's setting since onnxruntime 1.24; an older one takes it and does nothing."""

_UNTOLD: tuple[type[Exception], ...] = (AttributeError, RuntimeError, *ORT_ERRORS)
"""There is no such call, or an input is read in two places."""


def record(options: Any) -> None:
    """Have a session that is made with these options note where its nodes run."""
    options.add_session_config_entry(_RECORD, "1")


def assignment(session: Any) -> Assignment | None:
    """The nodes of a recorded session by provider, as partitioned; None where this onnxruntime does not tell."""
    ask = getattr(session, "get_provider_graph_assignment_info", None)
    if ask is None:
        return None
    found: dict[str, list[tuple[str, str]]] = {}
    for part in ask():
        found.setdefault(part.ep_name, []).extend((node.op_type, node.name) for node in part.get_nodes())
    return found or None  # nothing was recorded


def places(session: Any) -> dict[str, str | None]:
    """On which device each input is read, by name; None where this onnxruntime (before 1.23) does not tell."""
    names = [node.name for node in session.get_inputs()]
    try:
        infos = session.get_input_memory_infos()
    except _UNTOLD:
        return dict.fromkeys(names)
    return {name: _device(info) for name, info in zip(names, infos, strict=True)}


def _device(info: Any) -> str:
    """`cpu` or `cuda`; page-locked memory of the host is the host's."""
    name = str(info.name).lower()
    return "cpu" if "cpu" in name or "pinned" in name else name
