"""The examples of the README run as they are printed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

README = (Path(__file__).resolve().parents[1] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
FIRST_RUN = "runs/aae_plus_plus-color_mnist_5k-seed0"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with the run of the first command, of fewer steps and narrower networks."""
    folder = tmp_path_factory.mktemp("readme")
    code = f"""
import tfdm
tfdm.train(
    "aae_plus_plus", "color_mnist_5k", steps=2, width=0.0625, output_dir={FIRST_RUN!r},
    progress=False,
)
"""
    subprocess.run([sys.executable, "-c", code], cwd=folder, check=True)
    return folder


def test_the_readme_has_examples_of_the_first_command() -> None:
    assert len(BLOCKS) == 3
    assert any(FIRST_RUN in block for block in BLOCKS)


@pytest.mark.slow
@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_an_example_runs_as_it_is_printed(block: str, folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", block], cwd=folder, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr


def test_every_file_that_the_readme_names_is_there() -> None:
    root = Path(__file__).resolve().parents[1]
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    assert links
    assert [link for link in links if not (root / link).exists()] == []
