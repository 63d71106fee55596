"""A machine that is not set up as the developers' are: another locale, no home, paths of any letters."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import actmax
from actmax import zoo

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.skipif(sys.platform != "linux", reason="locales of POSIX")
def test_the_command_in_locale_c_without_a_home_and_with_spaces_and_letters_in_paths(tmp_path):
    """All that Python reads and prints is ASCII there: names on the command line were not found in labels."""
    folder = tmp_path / "a folder, \u00e4\u732b"
    folder.mkdir()
    model = folder / "my model \u00df.keras"
    shutil.copy(zoo.path("mnist"), model)
    labels = folder / "labels.json"
    labels.write_text('["\u00e4", "\u732b", "c", "d", "e", "f", "g", "h", "i", "j"]', "utf-8")
    environment = {
        "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "LC_ALL": "C", "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0", "HOME": "/dev/null/none", "TF_CPP_MIN_LOG_LEVEL": "3",
    }  # fmt: skip
    out, kept = folder / "out put", folder / "kept"
    command = [
        sys.executable, "-m", "actmax", "run", model, "--labels", labels, "--targets", "\u00e4", "1",
        "--input-range", "0", "1", "--steps", "2", "--out", out, "--checkpoint", kept, "--report",
    ]  # fmt: skip
    done = subprocess.run(
        [os.fsencode(str(part)) for part in command],
        cwd=folder, env=environment, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    assert b"\n\\xe4" in done.stdout
    assert b"Traceback" not in done.stderr
    result = actmax.Result.load(out)
    assert result.labels == ("\u00e4", "\u732b")
    assert "\u00e4" in (out / "report.html").read_text("utf-8")
    names = sorted(file.name for file in folder.iterdir())
    assert names == ["kept", "labels.json", "my model \u00df.keras", "out put"]
