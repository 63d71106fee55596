"""The site has a page for everything, and loads nothing from elsewhere."""

from __future__ import annotations

import importlib.util
import re
import types

import pytest

import actmax
import regularizers
from tests.docs.pages import DOCS, ROOT


@pytest.fixture(scope="module")
def hooks():
    spec = importlib.util.spec_from_file_location("hooks", DOCS / "tools" / "hooks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def documented(hooks):
    return [
        name
        for _, text in hooks.reference().values()
        for name in re.findall(r"^::: (\S+)$", text, re.MULTILINE)
    ]


def test_every_public_name_is_in_the_reference_once(hooks):
    names = documented(hooks)
    assert len(names) == len(set(names))
    public = {
        f"{package.__name__}.{name}"
        for package in (actmax, regularizers)
        for name in package.__all__
    }
    submodules = {
        f"{package.__name__}.{name}"
        for package in (actmax, regularizers)
        for name in package.__all__
        if isinstance(getattr(package, name), types.ModuleType)
    }
    missing = public - submodules - set(names) - {"actmax.__version__"}
    assert not missing, f"Missing in the reference: {sorted(missing)}."
    for submodule in submodules:
        assert any(name.startswith(f"{submodule}.") for name in names), submodule


def test_every_name_in_the_reference_exists(hooks):
    for name in documented(hooks):
        package, *rest = name.split(".")
        found = {"actmax": actmax, "regularizers": regularizers}[package]
        for part in rest:
            found = getattr(found, part)
        assert found is not None


def test_every_documented_function_and_class_has_a_docstring(hooks):
    for name in documented(hooks):
        package, *rest = name.split(".")
        found = {"actmax": actmax, "regularizers": regularizers}[package]
        for part in rest:
            found = getattr(found, part)
        if callable(found):
            assert found.__doc__, name


def test_a_new_module_gets_an_area_of_its_own(hooks, monkeypatch):
    names = {**hooks.public_names(), "actmax.novelties": ["actmax.Novelty"]}
    monkeypatch.setattr(hooks, "public_names", lambda: names)
    assert hooks.reference()["reference/novelties.md"][1].endswith("::: actmax.Novelty\n")


def test_every_page_is_in_the_navigation(hooks):
    text = (ROOT / "mkdocs.yml").read_text("utf-8")
    listed = set(re.findall(r"[\w/-]+\.md$", text, re.MULTILINE))
    written = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}
    made = {f"notebooks/{path.stem}.md" for path in hooks.NOTEBOOKS.glob("*.ipynb")}
    assert listed == written | made


def test_notebooks_become_pages_with_their_pictures(hooks):
    for file in hooks.NOTEBOOKS.glob("*.ipynb"):
        text, pictures = hooks.notebook(file)
        assert text.startswith("# ")
        assert pictures and all(data.startswith(b"\x89PNG") for data in pictures.values())
        assert all(f"]({name})" in text for name in pictures)


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        ('<script src="https://cdn.example/x.js"></script>', ["https://cdn.example/x.js"]),
        ("<link rel=stylesheet href=//fonts.example/y.css>", ["//fonts.example/y.css"]),
        ('<link href="https://a.example/" rel="preconnect">', ["https://a.example/"]),
        ('<img alt="" src="http://a.example/z.png">', ["http://a.example/z.png"]),
        ('<a href="https://arxiv.org/abs/1312.6034">source</a>', []),
        ('<script src="../assets/x.js"></script><link rel="stylesheet" href="a.css">', []),
        ('<link rel="canonical" href="https://actmax.example/">', []),
    ],
)
def test_addresses_that_a_page_loads_from_elsewhere_are_found(hooks, html, expected):
    assert hooks.foreign(html) == expected
