"""The gpu extra in an environment of its own, on a machine without a GPU: the CPU serves, and CUDA says why not."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "models" / "gru-gesture" / "gru.onnx"
SAMPLE = ROOT / "models" / "gru-gesture" / "sample.npz"

RUNTIME = """
import sys
from edgeseq_runtime import load
from edgeseq_runtime.errors import ProviderError
from edgeseq_runtime.providers import cuda
model = load(sys.argv[1])
assert model.verify().passed
print(model.provider.name, "cuda" in model.provider.dropped)
for asked in ("cuda", cuda(memory_limit=2**30)):
    try:
        load(sys.argv[1], provider=asked)
    except ProviderError as error:
        print(error.exit_code, error)
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """A fresh environment's python with this checkout's wheels and onnxruntime-gpu, a download of 250 MB."""
    if Path("/dev/nvidia0").exists():
        pytest.skip("this machine has a GPU")
    if not sys.platform.startswith("linux"):
        pytest.skip("onnxruntime-gpu has no wheel for this system, or names its libraries otherwise")
    folder = tmp_path_factory.mktemp("gpu")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    sources = [str(ROOT), str(ROOT / "runtime")]
    subprocess.run([*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", str(folder), *sources], check=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / "venv")], check=True)
    inside = str(folder / "venv" / "bin" / "python")
    (runtime,) = folder.glob("edgeseq_runtime-*.whl")
    (whole,) = folder.glob("edgeseq-*.whl")
    subprocess.run([*pip, "--python", inside, "install", f"{runtime}[gpu]", str(whole)], check=True)
    return inside


def called(python, *arguments, cwd):
    environment = {**os.environ, "EDGESEQ_CACHE": str(cwd / "cache"), "COLUMNS": "400"}
    environment.pop("PYTHONPATH", None)
    command = [python, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, env=environment)


@pytest.mark.full
def test_the_runtime_runs_on_the_cpu_and_says_what_cuda_needs(python, tmp_path):
    result = called(python, "-W", "error", "-c", RUNTIME, MODEL, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    first, *refused = result.stdout.splitlines()
    assert first == "cpu True"
    assert len(refused) == 2
    for line in refused:
        assert line.startswith("3 'cuda' was asked for, but CUDA's libcublas")
        assert "Mend it: pip install 'onnxruntime-gpu[cuda,cudnn]==" in line
        assert "there is no NVIDIA driver (libcuda.so.1)" in line
    assert result.stderr == ""  # onnxruntime's own log of the failure is kept away
    assert not (tmp_path / "cache").exists()  # with one provider nothing was measured


@pytest.mark.full
def test_the_command_line_exits_with_3_for_cuda_and_auto_runs(python, tmp_path):
    run = ["-m", "edgeseq", "run", MODEL, "--input", SAMPLE]
    named = called(python, *run, "--provider", "cuda", cwd=tmp_path)
    assert (named.returncode, named.stdout) == (3, "")
    assert "'cuda' was asked for, but CUDA's" in named.stderr
    chosen = called(python, *run, cwd=tmp_path)
    assert (chosen.returncode, chosen.stderr) == (0, "")
    assert len(chosen.stdout.splitlines()) > 1
    doctor = json.loads(called(python, "-m", "edgeseq", "doctor", MODEL, "--json", cwd=tmp_path).stdout)
    assert (doctor["model"]["provider"], doctor["providers"]) == ("cpu", ["cpu", "cuda"])
    cuda = doctor["findings"][1]
    assert (cuda["name"], cuda["in_build"]) == ("cuda", True)
    assert "libcudnn.so.9" in cuda["problem"]
