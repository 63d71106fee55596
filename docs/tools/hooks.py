"""What MkDocs cannot know by itself: the pages of the API reference, and the notebooks as pages.

The reference is made from the source of `actmax` and `regularizers`, without importing it: one page per
area, with every name of `__all__`. `tests/docs/test_site.py` holds it to that.
"""

from __future__ import annotations

import ast
import base64
import json
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = ROOT / "docs" / "notebooks"

# Title of an area, a sentence about it, and the modules whose public names it holds. A module that is not
# here gets an area of its own, so that no name is ever missing.
AREAS = (
    ("Running", "Compile once, run often.", ("actmax.maximizer",)),
    (
        "Results",
        "What a run returns, and how it is drawn and kept.",
        ("actmax.result", "actmax.images"),
    ),
    ("Objectives", "What is maximized.", ("actmax.objectives",)),
    ("Penalties and transforms", "", ("regularizers",)),
    ("Parameterizations", "What the optimizer moves.", ("actmax.parameterizations",)),
    ("Constraints", "Where images may lie.", ("actmax.constraints",)),
    (
        "Optimizers",
        "From gradients to steps: optimizers, gradient functions and schedules.",
        ("actmax.optimizers", "actmax.gradients", "actmax.schedules"),
    ),
    ("Callbacks", "Python between compiled steps.", ("actmax.callbacks", "actmax.types")),
    ("Models", "Layers by path, and the models that ship along.", ("actmax.models", "actmax.zoo")),
    ("Checkers", "The laws, tried on anyone's part.", ("actmax.testing", "regularizers.testing")),
    (
        "Random numbers",
        "Draws from seeds, one pair of integers per image.",
        ("regularizers.random",),
    ),
)


def literal(file: Path, name: str) -> Any:
    """A constant at the top of a Python file that is written out, such as `__all__`."""
    for node in ast.parse(file.read_text("utf-8")).body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            return ast.literal_eval(node.value)
    raise ValueError(f"Expected {name} to be written out in {file}. Received none.")


def submodule_names(module: str) -> list[str]:
    """Public names of a submodule: of its `__all__`, or its public functions and classes."""
    place = ROOT.joinpath(*module.split("."))
    file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    try:
        return list(literal(file, "__all__"))
    except ValueError:
        kinds = (ast.FunctionDef, ast.ClassDef)
        defined = [
            node.name for node in ast.parse(file.read_text("utf-8")).body if isinstance(node, kinds)
        ]
        return [name for name in defined if not name.startswith("_")]


def public_names() -> dict[str, list[str]]:
    """By module, the full names of all that is public: `{"actmax.result": ["actmax.Result", ...]}`."""
    found: dict[str, list[str]] = {}
    homes = literal(ROOT / "actmax" / "__init__.py", "_MODULES")
    for module, names in homes.items():
        found[module] = [f"actmax.{name}" for name in names]
    for name in literal(ROOT / "actmax" / "__init__.py", "_SUBMODULES"):
        found[f"actmax.{name}"] = [
            f"actmax.{name}.{inner}" for inner in submodule_names(f"actmax.{name}")
        ]
    own = []
    for name in literal(ROOT / "regularizers" / "__init__.py", "__all__"):
        place = ROOT / "regularizers" / name
        if place.is_dir() or place.with_suffix(".py").is_file():
            full = f"regularizers.{name}"
            found[full] = [f"{full}.{inner}" for inner in submodule_names(full)]
        else:
            own.append(f"regularizers.{name}")
    found["regularizers"] = own
    return found


def reference() -> dict[str, tuple[str, str]]:
    """The pages of the API reference: path to title and Markdown."""
    names = public_names()
    placed = {module for _, _, modules in AREAS for module in modules}
    others = tuple(
        (module.split(".")[-1].capitalize(), "", (module,))
        for module in names
        if module not in placed
    )
    found = {}
    for title, sentence, modules in (*AREAS, *others):
        listed = [name for module in modules for name in sorted(names.get(module, []))]
        if not listed:
            continue
        text = [f"# {title}", *filter(None, [sentence]), *(f"::: {name}" for name in listed)]
        found[f"reference/{title.lower().replace(' ', '-')}.md"] = (title, "\n\n".join(text) + "\n")
    return found


def notebook(file: Path) -> tuple[str, dict[str, bytes]]:
    """A notebook as Markdown, and its pictures by file name."""
    content = json.loads(file.read_text("utf-8"))
    parts, pictures = [], {}
    for cell in content["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            continue
        parts.append(f"```python\n{source}\n```")
        for output in cell["outputs"]:
            data = output.get("data", {})
            if "image/png" in data:
                name = f"{file.stem}_{len(pictures)}.png"
                pictures[name] = base64.b64decode("".join(data["image/png"]))
                parts.append(f"![Output of the cell above]({name})")
                continue
            text = "".join(output.get("text", data.get("text/plain", [])))
            parts.append(f'```text title="output"\n{text.rstrip()}\n```')
    parts.append(f"*This page is the notebook `docs/notebooks/{file.name}`.*")
    return "\n\n".join(parts) + "\n", pictures


def on_config(config: Any) -> Any:
    """Puts the reference at the end of the navigation."""
    pages = [{title: path} for path, (title, _) in reference().items()]
    config.nav = [*config.nav, {"Reference": pages}]
    return config


def on_files(files: Any, config: Any) -> Any:
    """Adds the pages that are made here."""
    from mkdocs.structure.files import File  # here: the tests read this module without MkDocs

    for path, (_, text) in reference().items():
        files.append(File.generated(config, path, content=text))
    for file in sorted(NOTEBOOKS.glob("*.ipynb")):
        text, pictures = notebook(file)
        files.append(File.generated(config, f"notebooks/{file.stem}.md", content=text))
        for name, picture in pictures.items():
            files.append(File.generated(config, f"notebooks/{name}", content=picture))
    return files


# What a browser fetches by itself when it shows a page.
_LOADS = re.compile(
    r"""<(?:script|img|iframe|source|video|audio|embed)\b[^>]*?\bsrc=["']?(?P<src>[^"'\s>]+)"""
    r"""|<link\b(?=[^>]*\brel=["']?(?:stylesheet|icon|preload|preconnect|modulepreload))"""
    r"""[^>]*?\bhref=["']?(?P<href>[^"'\s>]+)"""
)


def foreign(html: str) -> list[str]:
    """Addresses outside of the site that a page would load by itself."""
    found = [match["src"] or match["href"] for match in _LOADS.finditer(html)]
    return [address for address in found if re.match(r"(?:[a-z]+:)?//", address)]


def on_post_page(output: str, page: Any, config: Any) -> str:
    """Refuses a page that would load anything from elsewhere: the site works without a network."""
    del config
    if foreign(output):
        raise ValueError(
            f"Expected pages that load nothing from elsewhere. Received: {foreign(output)} in "
            f"{page.file.src_uri}. Put the file into docs/."
        )
    return output
