"""What importing the runtime costs beyond numpy and onnxruntime, and what a cold `edgeseq export` costs.

python benchmarks/startup.py [CHECKPOINT]
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[1]
ROUNDS = 9

BASE = "import numpy, onnxruntime"
IMPORT = f"""
import time
{BASE}
start = time.perf_counter()
from edgeseq_runtime import load
print(time.perf_counter() - start)
"""


def main() -> None:
    """Print the figures: medians of fresh processes."""
    checkpoint = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "models" / "lstm-vowels" / "lstm.pt"
    _python("-c", IMPORT)
    imports = [float(_python("-c", IMPORT)) for _ in range(ROUNDS)]
    base = [_timed("-c", BASE) for _ in range(3)]
    print(f"import numpy, onnxruntime: {1000 * median(base):.0f} ms, the interpreter included")
    print(f"edgeseq_runtime beyond them: {1000 * median(imports):.1f} ms (at most {1000 * max(imports):.1f})")
    with tempfile.TemporaryDirectory() as folder:
        command = ("-m", "edgeseq", "export", str(checkpoint), "-o", str(Path(folder, "model.onnx")))
        exports = [_timed(*command) for _ in range(3)]
    print(f"edgeseq export {checkpoint.name}, the proof included: {median(exports):.1f} s")


def _python(*arguments: str) -> str:
    """Standard output of a fresh interpreter that may keep its bytecode, as an installed package's is kept."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout


def _timed(*arguments: str) -> float:
    start = time.perf_counter()
    _python(*arguments)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
