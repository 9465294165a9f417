"""What the documentation says to type, works as typed: `python` and `bash` blocks are run; `console` ones are not."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = ["README.md", "docs/recurrence.md", "docs/reservoirs.md", "docs/decoding.md", "docs/autoencoders.md"]
PAGES += ["docs/bring-your-own.md", "runtime/README.md"]
LINKED = ["README.md", "runtime/README.md", "CHANGELOG.md", "docs/architecture.md", "docs/bring-your-own.md"]
LINKED += ["docs/cuda.md", "docs/devices.md", "docs/providers.md"]


def blocks():
    for page in PAGES:
        text = (ROOT / page).read_text(encoding="utf-8")
        for number, match in enumerate(re.finditer(r"^```(python|bash)\n(.*?)^```", text, re.M | re.S)):
            yield pytest.param(match[1], match[2], id=f"{page}-{number}")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("docs")
    shutil.copytree(ROOT / "models", path / "models")
    return path


@pytest.mark.parametrize(("language", "code"), list(blocks()))
def test_block_runs(folder, language, code):
    command = [sys.executable, "-c", code] if language == "python" else ["bash", "-euc", code]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout


@pytest.mark.parametrize("page", LINKED)
def test_links_lead_somewhere(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        if not target.startswith("http"):
            assert ((ROOT / page).parent / target).exists(), target
