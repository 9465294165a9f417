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


@pytest.mark.parametrize("page", PAGES)
def test_its_blocks_run_one_after_the_other(tmp_path, page):
    """In a folder of the page's own, where a block finds what those before it left."""
    shutil.copytree(ROOT / "models", tmp_path / "models")
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    blocks = re.findall(r"^```(python|bash)\n(.*?)^```", (ROOT / page).read_text(encoding="utf-8"), re.M | re.S)
    assert blocks
    for language, code in blocks:
        command = [sys.executable, "-c", code] if language == "python" else ["bash", "-euc", code]
        result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert result.returncode == 0, f"{code}\n{result.stderr}"
        assert result.stdout, code


@pytest.mark.parametrize("page", LINKED)
def test_links_lead_somewhere(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        if not target.startswith("http"):
            assert ((ROOT / page).parent / target).exists(), target
