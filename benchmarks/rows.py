"""What serving many users costs: 64 rows in one stream against 64 single streams, 256 units.

python benchmarks/rows.py [--units 256] [--rows 64] [--seconds 2]
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
import torch
from edgeseq_export import Source, export
from edgeseq_runtime import Model, load
from edgeseq_runtime.measure import measure

from edgeseq.nn import build

FEATURES, ROUNDS = 64, 5


def main() -> None:
    """Print a line for each cell."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--units", type=int, default=256)
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=2.0, help="time for each call of each line")
    arguments = parser.parse_args()
    rows = arguments.rows
    print(f"µs for a step of all {rows} users (of a quarter of them: {rows // 4}), one thread; interleaved medians\n")
    print(f"{'network':12}{'single':>9}{'one stream':>12}{'times':>7}{'quarter single':>16}{'rows=':>9}{'times':>7}")
    for cell in ("lstm", "gru", "rnn"):
        us = medians(contenders(network(cell, arguments.units), rows), arguments.seconds)
        print(
            f"{cell} 1×{arguments.units:<6}{us['single']:9.0f}{us['one']:12.0f}{us['single'] / us['one']:7.2f}"
            f"{us['quarter']:16.0f}{us['rows']:9.0f}{us['quarter'] / us['rows']:7.2f}",
            flush=True,
        )


def network(cell: str, units: int) -> Model:
    """A network of one layer, random weights."""
    torch.manual_seed(0)
    config = {"input_size": FEATURES, "output_size": 10, "hidden_size": units, "standardise": False}
    module = build(cell, config).eval()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.onnx")
        export(Source(module, module.signature(), cell, "classify", cell), path, verify=False)
        return load(path)


def contenders(model: Model, rows: int) -> dict[str, Callable[[], Any]]:
    """Each call is one step of all users, or of a quarter of them."""
    frames = np.random.default_rng(0).standard_normal((rows, FEATURES)).astype(np.float32)
    singles, one, some = [model.stream() for _ in range(rows)], model.stream(rows), model.stream(rows)
    chosen = list(range(0, rows, 4))
    few, separate = np.ascontiguousarray(frames[chosen]), list(frames)
    together = one.step(frames)["logits"]
    apart = [stream.step(frame)["logits"] for stream, frame in zip(singles, separate, strict=True)]
    np.testing.assert_allclose(np.stack(apart), together, atol=1e-5)
    np.testing.assert_allclose(some.step(few, rows=chosen)["logits"], together[chosen], atol=1e-5)
    return {
        "single": lambda: [stream.step(frame) for stream, frame in zip(singles, separate, strict=True)],
        "one": lambda: one.step(frames),
        "quarter": lambda: [singles[row].step(separate[row]) for row in chosen],
        "rows": lambda: some.step(few, rows=chosen),
    }


def medians(calls: dict[str, Callable[[], Any]], seconds: float) -> dict[str, float]:
    """The median of each call over rounds, in µs."""
    rounds = [measure(calls, seconds / ROUNDS) for _ in range(ROUNDS)]
    return {name: median(taken[name].p50_us for taken in rounds) for name in calls}


if __name__ == "__main__":
    main()
