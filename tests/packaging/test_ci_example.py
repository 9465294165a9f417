"""examples/ci in a fresh folder with a fresh environment, and the page that shows it."""

import re
import shutil
import site
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "ci"


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """A fresh environment's python: wheels of this checkout are installed, what they need is lent from outside."""
    folder = tmp_path_factory.mktemp("ci")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    sources = [str(ROOT), str(ROOT / "runtime")]
    subprocess.run([*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", str(folder), *sources], check=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / "venv")], check=True)
    inside = str(folder / "venv" / "bin" / "python")
    wheels = [str(wheel) for wheel in folder.glob("*.whl")]
    subprocess.run([*pip, "--python", inside, "install", "--no-deps", "--no-index", *wheels], check=True)
    lent = next((folder / "venv").glob("lib/python*/site-packages")) / "lent.pth"
    lent.write_text("\n".join(site.getsitepackages()))  # behind the environment's own; links of editable installs end
    return inside


def test_the_example_passes_in_a_fresh_folder(python, tmp_path):
    here = shutil.copytree(EXAMPLE, tmp_path / "mine", ignore=shutil.ignore_patterns("__pycache__", ".*"))
    command = re.search(r"&& (pytest .*)", (EXAMPLE / "parity.yml").read_text())[1].split()
    result = subprocess.run(
        [python, "-m", *command, "-p", "no:cacheprovider"], cwd=here, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "1 passed" in result.stdout
    where = subprocess.run(
        [python, "-c", "import edgeseq_export as e, edgeseq_runtime as r; print(e.__file__, r.__file__)"],
        cwd=here,
        capture_output=True,
        text=True,
        check=True,
    )
    assert all(Path(python).parents[1] in Path(path).parents for path in where.stdout.split())


def test_the_page_shows_the_files_as_they_are():
    page = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")
    for name in ("parity.yml", "test_parity.py"):
        assert (EXAMPLE / name).read_text(encoding="utf-8").strip() in page, name
    assert len((EXAMPLE / "parity.yml").read_text().splitlines()) <= 10
    for target in re.findall(r"\]\(([^)#]+)\)", page):
        assert (ROOT / "docs" / target).exists(), target
