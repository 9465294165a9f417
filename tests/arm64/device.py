"""What a device does to prove its files, with edgeseq-runtime alone: the golden vectors, then one stream, of each file.

python device.py FILE.onnx...      prints a JSON object a file; exit code 1 where one failed
"""

import json
import platform
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from edgeseq_runtime import EdgeseqError, Model, load
from edgeseq_runtime.compare import compare
from edgeseq_runtime.draw import draw_inputs

LEAST_STEPS = 12
"""Of a stream, where a typical sequence is shorter."""


def main(files: list[str]) -> int:
    """Prove every file and print what was found."""
    here = {"machine": platform.machine(), "python": platform.python_version()}
    here.update(numpy=np.__version__, onnxruntime=onnxruntime.__version__)
    print(json.dumps(here), flush=True)
    passed = True
    for file in files:
        try:
            model = load(file)
            found = {"golden": golden(model), "stream": stream(model)}
        except EdgeseqError as error:
            found = {"golden": {"passed": False, "error": str(error)}, "stream": {"passed": False}}
        passed = passed and found["golden"]["passed"] and found["stream"].get("passed", True)
        print(json.dumps({"file": "/".join(Path(file).parts[-2:]), **found}), flush=True)
    return 0 if passed else 1


def golden(model: Model) -> dict[str, Any]:
    """PyTorch's answers inside the file against those of this machine. share: the largest difference over its bound."""
    report = model.verify()
    shares = [c.max_abs / c.bound if c.bound else c.max_abs for c in report.comparisons]
    return {
        "passed": report.passed and bool(report.comparisons),
        "comparisons": len(report.comparisons),
        "share": max(shares, default=0.0),
    }


def stream(model: Model) -> dict[str, Any]:
    """A typical sequence step by step against the same at once, within twice the tolerance; or why there is none."""
    if not model.signature.streamable:
        return {"reason": model.signature.reason}
    count = max(LEAST_STEPS, model.sizes().get("time", 1))
    inputs = draw_inputs(model.signature, model.sizes(1, count), seed=0)
    whole = model.run(inputs)
    opened = model.stream()
    names = [t.name for t in model.signature.inputs if t.of is None]
    answers = [opened.step({name: inputs[name][:, step] for name in names}) for step in range(count)]
    tolerance = model.contract.tolerance if model.contract else 1e-5
    shares, passed = [0.0], True
    for tensor in model.signature.outputs:
        if tensor.kind == "sequence":
            continue
        steps = [answer[tensor.name] for answer in answers]
        streamed = np.stack(steps, 1) if tensor.kind == "step" else steps[-1]
        expected = whole[tensor.name]
        rms = float(np.sqrt(np.mean(np.square(expected, dtype=np.float64))))
        found = compare("stream", tensor, "cpu", streamed, expected, 2 * tolerance * rms)
        passed = passed and found.passed
        shares.append(found.max_abs / found.bound if found.bound else found.max_abs)
    return {"passed": passed, "steps": count, "share": max(shares)}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
