"""What `Stream.step` costs over a bare bound session on the leanest graph, and which part of it is what.

python benchmarks/overhead.py [--units 64] [--seconds 2]
"""

import argparse
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import onnxruntime as ort
import torch
from edgeseq_export import Source, export
from edgeseq_runtime import Model, load
from edgeseq_runtime.measure import measure
from peers import FEATURES, LAYERS, _bare, _lean_graph, _options

from edgeseq.nn import build

LIMIT_US = 2.0
ROUNDS = 5


def main() -> None:
    """Print a line for each cell."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--units", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=2.0, help="time for each call of each line")
    arguments = parser.parse_args()
    print(f"µs, medians of {ROUNDS} rounds of interleaved calls; onnxruntime {ort.__version__}, one thread")
    print("bare: the leanest graph, run_with_iobinding; file: edgeseq's graph, the same call; step: Stream.step\n")
    print(f"{'network':12}{'bare':>8}{'file':>8}{'step':>8}{'step out':>10}{'unwatched':>11}{'step - bare':>13}")
    for cell in ("lstm", "gru", "rnn"):
        print(line(cell, arguments.units, arguments.seconds), flush=True)
    print(f"\nstep - bare: at most {LIMIT_US} µs are wanted; unwatched: step with allow_nonfinite=True")


def line(cell: str, units: int, seconds: float) -> str:
    """One network's figures."""
    torch.manual_seed(0)
    config = {"input_size": FEATURES, "output_size": 10, "hidden_size": units, "num_layers": LAYERS}
    network = build(cell, {**config, "standardise": False}).eval()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.onnx")
        export(Source(network, network.signature(), cell, "classify", cell), path, verify=False)
        model = load(path)
    lean = ort.InferenceSession(_lean_graph(network), _options(), providers=["CPUExecutionProvider"])
    contenders = calls(model, lean, units)
    rounds = [measure(contenders, seconds / ROUNDS) for _ in range(ROUNDS)]
    us = {name: median(taken[name].p50_us for taken in rounds) for name in contenders}
    over = median(taken["step"].p50_us - taken["bare"].p50_us for taken in rounds)
    figures = "".join(f"{us[name]:{width}.2f}" for name, width in zip(contenders, (8, 8, 8, 10, 11), strict=True))
    return f"{cell} {LAYERS}×{units:<6}{figures}{over:13.2f}"


def calls(model: Model, lean: ort.InferenceSession, units: int) -> dict[str, Callable[[], Any]]:
    """The contenders, each on a frame of its own; all compute the same network."""
    x = np.random.default_rng(0).standard_normal((1, 1, FEATURES)).astype(np.float32)
    frame = x[0, 0].copy()
    stream, writing, inner = (model.stream() for _ in range(3))
    unwatched = model.stream(allow_nonfinite=True)
    out = writing.step(frame)
    direction = inner._direction  # held, since the bound call knows the addresses of its buffers alone
    bare = _bare(lean, x, units)
    np.testing.assert_allclose(bare()[0], model.run(x)["logits"][0], atol=2e-5)
    return {
        "bare": bare,
        "file": lambda: direction.run(),
        "step": lambda: stream.step(frame),
        "step out": lambda: writing.step(frame, out),
        "unwatched": lambda: unwatched.step(frame),
    }


if __name__ == "__main__":
    main()
