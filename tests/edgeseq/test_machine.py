"""What is told of a machine: its processor and GPUs, the libraries that are missing, and what mends it."""

import sys
from pathlib import Path
from types import SimpleNamespace

import onnxruntime
import pytest
from edgeseq_runtime._ort import probe
from edgeseq_runtime.processor import gpus, processor

from edgeseq.machine import examine

X86 = """processor\t: 0
model name\t: AMD EPYC 9R14
flags\t\t: fpu sse2 avx fma avx2 avx512f avx512_vnni

processor\t: 1
model name\t: another
"""
ARM = """processor\t: 0
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm crc32 cpuid asimdhp asimddp
CPU implementer\t: 0x41
CPU part\t: 0xd0b
"""


@pytest.mark.parametrize(
    ("text", "model", "features"),
    [
        (X86, "AMD EPYC 9R14", ("avx", "avx2", "fma", "avx512f", "avx512_vnni")),
        (ARM, "0x41 0xd0b", ("asimd", "asimdhp", "asimddp")),
    ],
)
def test_processor(tmp_path, text, model, features):
    (tmp_path / "cpuinfo").write_text(text)
    found = processor(tmp_path / "cpuinfo")
    assert (found.model, found.features) == (model, features)


def test_a_processor_that_is_not_told_has_no_features(tmp_path):
    assert processor(tmp_path / "none").features == ()
    assert processor(tmp_path / "none").model


def test_gpus(tmp_path):
    for name, text in (("0000:01", "Model: \t\t NVIDIA H100\nIRQ: 1\n"), ("0000:02", "Model: NVIDIA T4\n")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "information").write_text(text)
    assert gpus(tmp_path) == ("NVIDIA H100", "NVIDIA T4")
    assert gpus(tmp_path / "none") == ()


@pytest.fixture(scope="module")
def library():
    """onnxruntime's own library, as a file of Linux."""
    found = sorted((Path(onnxruntime.__file__).parent / "capi").glob("onnxruntime_pybind11_state*.so"))
    if not found or not sys.platform.startswith("linux"):
        pytest.skip("libraries are files of another form here")
    return found[0]


@pytest.mark.parametrize("size", [0, 4, 64, 1000])
def test_of_a_file_that_is_no_library_nothing_is_known(library, tmp_path, size):
    with library.open("rb") as file:
        (tmp_path / "cut.so").write_bytes(file.read(size))
    assert probe.missing_libraries(tmp_path / "cut.so") == ()
    assert probe.missing_libraries(tmp_path / "none.so") == ()


def test_libraries_that_are_not_there_are_told_by_name(monkeypatch, tmp_path):
    told = "\tlibcublas.so.99 => not found\n\tlibc.so.6 => /lib/libc.so.6 (0x7f)\n\tlinux-vdso.so.1 (0x7f)\n"
    monkeypatch.setattr("subprocess.run", lambda *_, **__: SimpleNamespace(stdout=told))
    monkeypatch.setattr(probe, "CUDNN", "libcudnn.so.99")
    assert probe.missing_libraries(tmp_path / "any.so") == ("libcublas.so.99", "libcudnn.so.99")


def test_what_is_missing_is_what_the_loader_does_not_find(library):
    assert set(probe.missing_libraries(library)) <= {probe.CUDNN}  # what it needs itself is loaded


@pytest.mark.parametrize(
    ("missing", "problem", "remedy"),
    [
        (
            ("libcublas.so.13", "libcudnn.so.9"),
            "CUDA's libcublas.so.13, libcudnn.so.9 cannot be loaded here",
            "Mend it: install the CUDA and cuDNN that have them, and put their folders on LD_LIBRARY_PATH",
        ),
        (
            ("libcuda.so.1",),
            "there is no NVIDIA driver (libcuda.so.1)",
            "Mend it: install the driver (`nvidia-smi` must list the GPU)",
        ),
        (
            ("libcublas.so.13", "libcuda.so.1"),
            "CUDA's libcublas.so.13 cannot be loaded here and there is no NVIDIA driver (libcuda.so.1)",
            "Mend it: pip install 'onnxruntime-gpu[cuda,cudnn]==1.31.1', and install the driver (`nvidia-smi` must "
            "list the GPU)",
        ),
    ],
)
def test_what_mends_libraries_that_are_missing(missing, problem, remedy):
    packaged = "1.31.1" if "onnxruntime-gpu" in remedy else None
    found = probe.without(missing, packaged)
    assert (found.problem, found.remedy) == (problem, remedy)


def test_doctor_finds_every_provider():
    machine = examine()
    assert [one.name for one in machine.findings] == ["cpu", "cuda"]
    assert machine.findings[0].usable
    for one in machine.findings:
        assert one.in_build == (one.name in machine.providers)
        assert (one.problem is None) == (one.remedy is None)
    assert machine.onnxruntime_build


def test_two_installed_onnxruntimes_are_a_problem_with_a_remedy(monkeypatch):
    monkeypatch.setattr("importlib.metadata.version", lambda name: "1.0")
    (problem,) = examine().problems
    assert "both installed" in problem
    assert "pip uninstall -y onnxruntime onnxruntime-gpu && pip install" in problem
