"""Small networks, built and exported once a session."""

import functools
import gc
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

FEATURES = ("low", "middle", "high")
LABELS = ("ae", "oe", "ue")

CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "lstm": ("lstm", {"input_size": 3, "output_size": 3, "hidden_size": 8}),
    "gru": (
        "gru",
        {
            "input_size": 2,
            "output_size": 2,
            "hidden_size": 8,
            "head": "step",
            "task": "forecast",
            "ragged": False,
        },
    ),
    "bidirectional": ("lstm", {"input_size": 3, "output_size": 3, "hidden_size": 4, "bidirectional": True}),
    "tokens": (
        "gru",
        {"input_size": 1, "output_size": 3, "hidden_size": 4, "vocabulary_size": 5, "head": "step"},
    ),
}


gc.set_threshold(100_000, 20, 20)
"""A tracer makes very many objects: looking through them as often as Python does by itself is 15 % of the time."""


os.environ["EDGESEQ_CACHE"] = ""
"""No choice of a provider is kept beyond a test."""


@pytest.fixture(scope="session", autouse=True)
def _one_table_of_operators() -> None:
    """torch builds its table of ONNX operators anew for every export, half a second each: here it is built once."""
    from torch.onnx._internal.exporter._registration import ONNXRegistry

    ONNXRegistry.from_torchlib = classmethod(functools.cache(ONNXRegistry.from_torchlib.__func__))  # type: ignore


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with NAME.pt and NAME.onnx for every network of CONFIGS, not proven: other tests do that."""
    import torch
    from edgeseq_export import export

    from edgeseq import checkpoint
    from edgeseq.nn import Hints, build
    from edgeseq.opening import open_source

    folder = tmp_path_factory.mktemp("models")
    for name, (family, config) in CONFIGS.items():
        with torch.random.fork_rng():
            torch.manual_seed(7)
            labels = LABELS if config.get("task") != "forecast" else None
            features = {"x": FEATURES} if config["input_size"] == len(FEATURES) else {}
            hints = Hints(labels=labels, typical={"batch": 1, "time": 6}, features=features)
            network = build(family, config, hints)
        checkpoint.save(folder / f"{name}.pt", network, {"test": {"accuracy": 0.9}}, {"data": "none"})
        export(open_source(folder / f"{name}.pt"), folder / f"{name}.onnx", verify=False)
    return folder


@pytest.fixture(scope="session")
def operators() -> Callable[[bytes], set[str]]:
    """All operators of a file's bytes, those inside loops too."""
    import onnx

    def found(content: bytes) -> set[str]:
        graphs, names = [onnx.load_from_string(content).graph], set()
        while graphs:
            for node in graphs.pop().node:
                names.add(node.op_type)
                graphs += [attribute.g for attribute in node.attribute if attribute.HasField("g")]
        return names

    return found
