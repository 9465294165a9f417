"""Write the table of docs/devices.md: what each model in models/ costs a device.

python docs/generate_devices.py REPORT.json     the report of: python tests/arm64/emulated.py --report REPORT.json

Multiply-adds are counted, not estimated: onnxruntime's profile of one typical call says which operators ran, inside
loops too, and on which shapes. Resident memory is a fresh process's after one typical call.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

import onnxruntime as ort
from edgeseq_runtime import Model, load
from edgeseq_runtime.measure import model_call

ROOT = Path(__file__).parents[1]
PAGE = Path(__file__).with_name("devices.md")
BEGIN, END = "<!-- written by docs/generate_devices.py -->\n", "<!-- end -->\n"
HEADER = "| model | file, kB | parameters | multiply-adds | resident, MB | on Arm: share of the bound | stream on Arm |"

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
FREE = (
    "Abs Add And ArgMax ArgMin BatchNormalization Cast Ceil Clip Concat Constant ConstantOfShape CumSum Div Equal Erf "
    "Exp Expand Flatten Floor Gather GatherElements GatherND Greater GreaterOrEqual Identity If IsInf IsNaN LeakyRelu "
    "Less LessOrEqual Log LogSoftmax Loop Max MaxPool AveragePool GlobalAveragePool Min Mod Mul Neg Not OneHot Or Pad "
    "Pow Range Reciprocal ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceL2 ReduceSumSquare Relu Reshape "
    "ReverseSequence Round Scan ScatterElements ScatterND Selu Elu Shape Sigmoid Sign Sin Cos Slice Softmax Softplus "
    "Split Sqrt Squeeze Sub Tanh Tile TopK Transpose Trilu Unsqueeze Where Xor Size RandomNormalLike Resize"
)
"""Operators without products of matrices; what is elementwise is not counted."""

MEMORY = """
import sys
from edgeseq_runtime import load
from edgeseq_runtime.measure import model_call
model = load(sys.argv[1])
model_call(model, model.sizes(), False)()
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmRSS")))
"""


def multiply_adds(model: Model, file: Path) -> int:
    """Of one call of the model's typical sizes."""
    options = ort.SessionOptions()
    options.enable_profiling, options.log_severity_level = True, 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL  # as written, without fused operators
    options.add_session_config_entry("session.disable_prepacking", "1")  # or the shapes of weights are not told
    with tempfile.TemporaryDirectory() as folder:
        options.profile_file_prefix = str(Path(folder, "profile"))
        session = ort.InferenceSession(file.read_bytes(), options, providers=["CPUExecutionProvider"])
        model._session.run_checked = lambda names, feeds: session.run(names, feeds)  # type: ignore[method-assign]
        model_call(model, model.sizes(), False)()
        events = json.loads(Path(session.end_profiling()).read_text())
    ran = [e["args"] for e in events if e.get("cat") == "Node" and e["name"].endswith("kernel_time")]
    return sum(products(node) for node in ran)


def products(node: Mapping[str, Any]) -> int:
    """The multiply-adds of one operator, by the shapes that went in and came out."""
    name = node["op_name"]
    given, out = (
        [next(iter(shape.values())) for shape in node[key]] for key in ("input_type_shape", "output_type_shape")
    )
    if name in GATES:
        time, batch, features = given[0]
        directions, gates_by_hidden, _ = given[1]
        return time * batch * directions * gates_by_hidden * (features + gates_by_hidden // GATES[name])
    if name in ("MatMul", "Gemm"):
        return prod(out[0]) * given[0][-1]
    if name == "Conv":
        return prod(out[0]) * prod(given[1][1:])
    if name == "ConvTranspose":
        return prod(given[0]) * prod(given[1][1:])
    if name == "Inverse":
        return prod(given[0]) * given[0][-1]
    if name not in FREE.split():
        raise SystemExit(f"{name} is not known here: say in docs/generate_devices.py what it costs")
    return 0


def row(file: Path, arm: Mapping[str, Any]) -> str:
    """A model's line of the table."""
    folder, model = file.parent.name, load(file)
    sizes, count = model.sizes(), multiply_adds(load(file), file)
    steps = sizes.get("time")
    cost = f"{spaced(round(count / steps))} a step" if steps else f"{spaced(count)} a call"
    memory = subprocess.run(
        [sys.executable, "-c", MEMORY, str(file)], check=True, capture_output=True, text=True
    ).stdout
    parameters = json.loads((file.parent / "metrics.json").read_text())["parameters"]
    golden, stream = arm["golden"], arm["stream"]
    shown = f"{golden['share']:.2f}" if golden["passed"] else "failed"
    streamed = "–" if "reason" in stream else f"{stream['steps']} steps" if stream["passed"] else "failed"
    size = f"{file.stat().st_size / 1000:.0f}"
    name = f"[{folder}](../models/{folder}/card.md)"
    return f"| {name} | {size} | {spaced(parameters)} | {cost} | {int(memory) / 1024:.0f} | {shown} | {streamed} |"


def spaced(number: int) -> str:
    """A whole number with commas."""
    return f"{number:,}"


def main(report: Path) -> None:
    """Write the table into the page, between its marks."""
    arm = {one["file"]: one for one in json.loads(report.read_text())[1:]}
    files = sorted((ROOT / "models").glob("*/*.onnx"))
    rows = [row(file, arm[f"{file.parent.name}/{file.name}"]) for file in files]
    before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    after = rest.split(END)[1]
    rule = "|" + " --- |" * (HEADER.count("|") - 1)
    PAGE.write_text(before + BEGIN + "\n".join([HEADER, rule, *rows, ""]) + END + after, encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(
            "the report of `python tests/arm64/emulated.py --report FILE.json` is needed: generate_devices.py FILE.json"
        )
    main(Path(sys.argv[1]))
