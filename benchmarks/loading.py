"""From a file to its first output: a 3 MB LSTM with hash and contract checked, beyond importing onnxruntime.

python benchmarks/loading.py [MODEL]
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

LIMIT_MS, ROUNDS = 60.0, 15
NAMES = ("import edgeseq_runtime", "load", "first output")

CHILD = """
import sys, time
import numpy, onnxruntime
x = numpy.zeros((1, 1, int(sys.argv[2])), numpy.float32)
start = time.perf_counter()
from edgeseq_runtime import load
imported = time.perf_counter()
model = load(sys.argv[1])
loaded = time.perf_counter()
assert model.sha256 and model.contract
model.stream().step(x[:, 0])
done = time.perf_counter()
print(imported - start, loaded - imported, done - loaded)
"""


def main() -> None:
    """Print the medians of fresh processes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(sys.argv[1]) if len(sys.argv) > 1 else _lstm(Path(folder, "lstm.onnx"))
        from edgeseq_runtime import load

        features = load(path).signature.inputs[0].axes[-1]
        _child(path, features)  # the first run writes the bytecode
        runs = [_child(path, features) for _ in range(ROUNDS)]
        print(f"{path.name}, {path.stat().st_size / 1e6:.1f} MB; ms, medians of {ROUNDS} fresh processes")
    for name, times in zip(NAMES, zip(*runs, strict=True), strict=True):
        print(f"{name:24}{1000 * median(times):8.1f}")
    totals = [1000 * sum(run) for run in runs]
    print(f"{'all, beyond onnxruntime':24}{median(totals):8.1f}   (at most {max(totals):.1f}; wanted {LIMIT_MS:g})")
    sys.exit(0 if median(totals) < LIMIT_MS else 1)


def _child(path: Path, features: int) -> list[float]:
    """Seconds of each part, in a fresh interpreter that may keep its bytecode, as an installed package's is kept."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-c", CHILD, str(path), str(features)]
    output = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
    return [float(value) for value in output.split()]


def _lstm(path: Path) -> Path:
    from edgeseq_export import Source, export

    from edgeseq.nn import build

    network = build("lstm", {"input_size": 64, "output_size": 10, "hidden_size": 240, "num_layers": 2}).eval()
    export(Source(network, network.signature(), "lstm", "classify", "lstm"), path, verify=False)
    return path


if __name__ == "__main__":
    main()
