"""The runtime's wheel in a fresh environment that holds numpy and onnxruntime alone, as on a device."""

import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

ROOT = Path(__file__).parents[2]

DEVICE = """
import sys
import numpy as np
from edgeseq_runtime import load
model = load(sys.argv[1])
x = np.load(sys.argv[2])
assert model.verify().passed
stream = model.stream()
for frame in x[0]:
    answer = stream.step(frame)
equal = np.abs(model.run(x[:1])["logits"][0] - answer["logits"]).max() < 1e-5
print(equal, "torch" in sys.modules, "onnx" in sys.modules)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(folder),
    ]
    subprocess.run([*command, str(ROOT / "runtime")], check=True)
    return next(folder.glob("*.whl"))


def test_wheel_is_small_and_pure(wheel):
    assert wheel.name.endswith("py3-none-any.whl")
    assert wheel.stat().st_size < 100_000
    names = zipfile.ZipFile(wheel).namelist()
    assert all(n.startswith(("edgeseq_runtime/", "edgeseq_runtime-")) for n in names)
    assert "edgeseq_runtime/py.typed" in names


def test_wheel_works_on_a_device(wheel, models, tmp_path):
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    python = str(tmp_path / "venv" / "bin" / "python")
    packages = [str(wheel), f"onnxruntime=={onnxruntime.__version__}", f"numpy=={np.__version__}"]
    subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True)
    np.save(tmp_path / "x.npy", np.random.default_rng(0).standard_normal((1, 20, 3)).astype(np.float32))
    (tmp_path / "device.py").write_text(DEVICE)
    arguments = [python, str(tmp_path / "device.py"), str(models / "lstm.onnx"), str(tmp_path / "x.npy")]
    result = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["True", "False", "False"]
    installed = subprocess.run([python, "-m", "pip", "list"], capture_output=True, text=True, check=True).stdout
    assert "torch" not in installed
    assert "onnxruntime" in installed
