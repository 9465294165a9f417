"""The runtime's wheel in a fresh environment that holds numpy and onnxruntime alone, as on a device."""

import json
import re
import subprocess
import sys
import tomllib
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
    assert not [n for n in names if not n.endswith((".py", "py.typed")) and ".dist-info/" not in n]
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


def oldest():
    """The oldest versions that the runtime's pyproject names, such as onnxruntime==1.17.0."""
    project = tomllib.loads((ROOT / "runtime" / "pyproject.toml").read_text())["project"]
    named = [*project["dependencies"], *project["optional-dependencies"]["cpu"]]
    return [re.sub(r">=(.*)", r"==\1.0", requirement) for requirement in named]


@pytest.mark.full
@pytest.mark.skipif(sys.version_info >= (3, 13), reason="onnxruntime 1.17 has no wheels for this Python")
def test_every_model_is_proven_with_the_oldest_versions_named(wheel, tmp_path):
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    python = str(tmp_path / "venv" / "bin" / "python")
    subprocess.run([python, "-m", "pip", "install", "--quiet", str(wheel), *oldest()], check=True)
    files = sorted(map(str, (ROOT / "models").glob("*/*.onnx")))
    device = [python, str(ROOT / "tests" / "arm64" / "device.py"), *files]
    result = subprocess.run(device, capture_output=True, text=True, check=False, cwd=tmp_path)
    here, *found = map(json.loads, result.stdout.splitlines())
    assert [f"numpy=={here['numpy']}", f"onnxruntime=={here['onnxruntime']}"] == oldest()
    failed = [one for one in found if not (one["golden"]["passed"] and one["stream"].get("passed", True))]
    assert failed == []
    assert len(found) == len(files)


def test_a_device_tells_a_damaged_file(tmp_path):
    content = bytearray((ROOT / "models" / "gru-gesture" / "gru.onnx").read_bytes())
    content[2000] ^= 1
    (tmp_path / "gru.onnx").write_bytes(content)
    files = [str(tmp_path / "gru.onnx"), str(ROOT / "models" / "gru-gesture" / "gru.onnx")]
    device = [sys.executable, str(ROOT / "tests" / "arm64" / "device.py"), *files]
    result = subprocess.run(device, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert [json.loads(line)["golden"]["passed"] for line in result.stdout.splitlines()[1:]] == [False, True]


def test_where_arm_cannot_be_emulated_the_reason_is_told(tmp_path):
    emulated = [sys.executable, str(ROOT / "tests" / "arm64" / "emulated.py"), "--root", str(tmp_path / "root")]
    result = subprocess.run(emulated, capture_output=True, text=True, check=True, env={"PATH": str(tmp_path)})
    assert result.stdout.startswith("skipped: ")
    assert not (tmp_path / "root").exists()
