"""Whether a stream can run for months: memory after millions of steps, time and memory of a model that waits.

Runs on the runtime alone, without PyTorch, so that the memory is a device's.

    python benchmarks/endurance.py                          # 10 million steps, some minutes
    python benchmarks/endurance.py models/gru-gesture/gru.onnx --steps 1000000
"""

import argparse
import resource
import sys
import time
from pathlib import Path

import numpy as np
from edgeseq_runtime import Model, load
from edgeseq_runtime.draw import draw_inputs

ROOT = Path(__file__).parents[1]
EARLY = 10_000
FRAMES = 1_000


def main() -> None:
    """Print the figures; exit with 1 where memory grew by more than 2 %, took 150 MB, or waiting took time."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", default=ROOT / "models" / "gru-gesture" / "gru.onnx", type=Path)
    parser.add_argument("--steps", type=int, default=10_000_000)
    parser.add_argument("--idle", type=float, default=20.0, help="seconds to wait with the model loaded")
    arguments = parser.parse_args()
    model = load(arguments.model)
    print(f"{model.name}, {model.provider.name}, one thread; 'torch' imported: {'torch' in sys.modules}")
    passed = steps(model, arguments.steps)
    for threads in (1, 2):
        passed &= idle(load(arguments.model, threads=threads), threads, arguments.idle)
    sys.exit(0 if passed else 1)


def steps(model: Model, count: int) -> bool:
    """Step a stream, every second time into the caller's arrays, and compare the resident memory early and late."""
    tensor = model.signature.inputs[0]
    frames = draw_inputs(model.signature, model.sizes(1, FRAMES), seed=0)[tensor.name][0]
    stream = model.stream()
    out = stream.step(frames[0])
    early = 0.0
    start = time.perf_counter()
    for step in range(count):
        stream.step(frames[step % FRAMES], out if step % 2 else None)
        if step + 1 == EARLY:
            early = resident_mb()
    seconds = time.perf_counter() - start
    late, peak = resident_mb(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    finite = all(np.isfinite(array).all() for array in stream.state.arrays.values())
    print(
        f"{count:,} steps in {seconds:.0f} s ({1e6 * seconds / count:.1f} µs each); resident {early:.1f} MB after "
        f"{EARLY:,}, {late:.1f} MB after all: {late / early:.4f} times; at most {peak:.1f} MB; states finite: {finite}"
    )
    return finite and abs(late / early - 1) <= 0.02 and peak < 150


def idle(model: Model, threads: int, seconds: float) -> bool:
    """Wait after some work, and tell what processor time that took."""
    stream = model.stream()
    frame = np.zeros(model.signature.inputs[0].axes[2:], model.signature.inputs[0].dtype)
    for _ in range(1_000):
        stream.step(frame)
    before = time.process_time()
    time.sleep(seconds)
    used = time.process_time() - before
    print(f"idle for {seconds:g} s with {threads} threads: {100 * used / seconds:.2f} % of a processor")
    return used / seconds < 0.005


def resident_mb() -> float:
    """The resident memory of this process now, in MB (Linux; elsewhere the most there ever was)."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return pages * resource.getpagesize() / 2**20


if __name__ == "__main__":
    main()
