"""The two figures that need an NVIDIA GPU: `auto` against the best fixed provider, and a captured step against cuDNN.

python benchmarks/providers.py [--seconds 1]

Needs edgeseq-runtime[gpu] in place of [cpu], and a PyTorch with CUDA. Where there is no GPU it says so.
"""

import argparse
import os
import tempfile
from collections.abc import Callable
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import onnxruntime as ort
import torch
from edgeseq_export import Source, export
from edgeseq_runtime import load, providers
from edgeseq_runtime.cache import VARIABLE
from edgeseq_runtime.errors import ProviderError
from edgeseq_runtime.measure import measure, model_call

from edgeseq.nn import Recurrent, build

FEATURES, CLASSES, ROUNDS = 64, 10, 5
CELLS, UNITS, SHAPES = ("lstm", "gru"), (64, 256, 1024), ((1, 1), (100, 1), (100, 32))
"""Shapes: (time, batch)."""

WITHIN, AT_MOST, CLOSE = 1.05, 0.6, 1e-5


def main() -> None:
    """Print both tables, or why there is nothing to measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=1.0, help="time for each call of each line")
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory() as folder:
        os.environ[VARIABLE] = folder  # what was measured earlier is not to be used
        if problem := missing(Path(folder)):
            print(f"No GPU to measure on: {problem}\nNo figure was taken.")
            return
        print(
            f"{torch.cuda.get_device_name()}, onnxruntime {ort.__version__}, torch {torch.__version__}, "
            f"CUDA {torch.version.cuda}; one CPU thread; µs, medians of {ROUNDS} rounds of interleaved calls\n"
        )
        choices(Path(folder), seconds)
        steps(Path(folder), seconds)


def missing(folder: Path) -> str:
    """Why CUDA cannot be measured here; empty where it can."""
    if not torch.cuda.is_available():
        return f"torch {torch.__version__} finds no CUDA device"
    try:
        load(made(folder, "gru", 8)[1], provider="cuda")
    except ProviderError as error:
        return str(error)
    return ""


def choices(folder: Path, seconds: float) -> None:
    """`auto` against the best fixed choice, whole sequences, host arrays in and out."""
    print(f"{'network':12}{'time':>6}{'batch':>6}{'cpu':>10}{'cuda':>10}{'auto':>10}{'auto took':>11}{'× best':>8}")
    over = 0
    for cell, units, (time, batch) in product(CELLS, UNITS, SHAPES):
        _, path = made(folder, cell, units)
        sizes = {"batch": batch, "time": time}
        models = {"cpu": load(path, provider="cpu"), "cuda": load(path, provider="cuda")}
        models["auto"] = load(path, provider="auto", sizes=sizes)
        us = medians({name: model_call(model, sizes, False) for name, model in models.items()}, seconds)
        ratio = us["auto"] / min(us["cpu"], us["cuda"])
        over += ratio > WITHIN
        print(
            f"{cell} 2×{units:<6}{time:6}{batch:6}{us['cpu']:10.1f}{us['cuda']:10.1f}{us['auto']:10.1f}"
            f"{models['auto'].provider.name:>11}{ratio:8.2f}",
            flush=True,
        )
    print(f"more than {WITHIN} × the best in {over} cases; at most 1 is wanted\n")


def steps(folder: Path, seconds: float) -> None:
    """A stream's step against PyTorch's, the frame from the host and the answer to the host in both."""
    print(f"{'network':12}{'cuDNN':>10}{'step':>10}{'× cuDNN':>9}{'off by':>10}  CUDA graphs")
    for cell, units in product(CELLS, UNITS):
        network, path = made(folder, cell, units)
        cuda = load(path, provider=providers.cuda(graphs=True))
        stream, frames = cuda.stream(), np.random.default_rng(0).standard_normal((50, FEATURES)).astype(np.float32)
        expected = load(path, provider="cpu").stream()
        off = 0.0
        for frame in frames:
            given, wanted = stream.step(frame)["logits"], expected.step(frame)["logits"]
            off = max(off, float(np.abs(given - wanted).max() / np.abs(wanted).max()))
        frame = frames[0]
        us = medians({"torch": eager(network, frame), "step": lambda s=stream, f=frame: s.step(f)}, seconds)
        ratio = us["step"] / us["torch"]
        verdict = "" if ratio <= AT_MOST and off <= CLOSE else f"   wanted: at most {AT_MOST} and {CLOSE}"
        used = "used" if stream.cuda_graphs.used else f"not used: {stream.cuda_graphs.reason}"
        print(
            f"{cell} 2×{units:<6}{us['torch']:10.1f}{us['step']:10.1f}{ratio:9.2f}{off:10.1e}  {used}{verdict}",
            flush=True,
        )


def made(folder: Path, cell: str, units: int) -> tuple[Recurrent, Path]:
    """A network without lengths, and its file."""
    torch.manual_seed(0)
    config = {"input_size": FEATURES, "output_size": CLASSES, "hidden_size": units, "num_layers": 2}
    network = build(cell, {**config, "standardise": False, "ragged": False}).eval()
    path = folder / f"{cell}-{units}.onnx"
    if not path.exists():
        export(Source(network, network.signature(), cell, "classify", cell), path, verify=False)
    return network, path


def eager(network: Recurrent, frame: np.ndarray) -> Callable[[], Any]:
    """PyTorch's own stacked layer on the GPU (cuDNN) and a linear head, as one would write it, states carried."""
    config = network.config
    kind = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[config.cell]
    stack = kind(config.input_size, config.hidden_size, config.num_layers, batch_first=True).eval().cuda()
    head = torch.nn.Linear(config.hidden_size, CLASSES).cuda()
    values = torch.from_numpy(frame)[None, None]
    state: Any = None

    @torch.inference_mode()
    def call() -> np.ndarray:
        nonlocal state
        y, state = stack(values.cuda(), state)
        logits = head(y[:, -1])
        torch.softmax(logits, -1)
        return logits.cpu().numpy()

    return call


def medians(calls: dict[str, Callable[[], Any]], seconds: float) -> dict[str, float]:
    """The median over rounds of each call's median."""
    rounds = [measure(calls, seconds / ROUNDS) for _ in range(ROUNDS)]
    return {name: median(taken[name].p50_us for taken in rounds) for name in calls}


if __name__ == "__main__":
    main()
