# Every target sets up .venv from nothing first. Needed: GNU Make, Python 3.10 or newer with its venv module, and a
# package index. Another interpreter: `make test PYTHON=python3.12`. To start afresh, remove .venv.

PYTHON ?= python3
# Two processes: TensorFlow's own threads leave one core idle in most tests.
PYTEST_ARGS ?= -n 2 --dist loadfile
BIN := .venv/bin
INSTALLED := .venv/.installed
DOCS := .venv/.docs

# Only here: what a user of the package sees of TensorFlow's log is the user's to decide.
export TF_CPP_MIN_LOG_LEVEL ?= 2

.PHONY: help demo test slow check coverage soak fuzz mutation bench docs clean

help:
	@echo "make demo    ten digits, each what the demo network responds to most, in out/demo"
	@echo "make test    the tests that take less than two seconds each; about ten minutes"
	@echo "make slow    the other tests, which tests/slow.txt names; half an hour"
	@echo "make check   lint, format, types, architecture"
	@echo "make coverage, soak, fuzz, mutation   the long ones: half an hour to hours each; see docs/reliability.md"
	@echo "make bench   the benchmarks (BENCH_ARGS=... are passed on)"
	@echo "make docs    the documentation, in site/"
	@echo "make clean   remove what the others wrote, except .venv"

demo: $(INSTALLED)
	$(BIN)/actmax demo mnist --out out/demo

test: $(INSTALLED)
	$(BIN)/python -m pytest -m "not slow" $(PYTEST_ARGS)

slow: $(INSTALLED)
	$(BIN)/python -m pytest -m slow $(PYTEST_ARGS)

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/test_architecture.py

# How much of the code the tests run; the floor is in pyproject.toml.
coverage: $(INSTALLED)
	$(BIN)/python -m pytest $(PYTEST_ARGS) --cov --cov-report=term:skip-covered

# Many runs, many kills, many pictures, each in its full number.
soak: $(INSTALLED)
	$(BIN)/python -m tests.soak.runs --count 1000
	$(BIN)/python -m tests.soak.kills --kills 100
	$(BIN)/python -m tests.soak.signals --count 200
	$(BIN)/python -m tests.soak.catalogs --kills 20
	$(BIN)/python -m tests.soak.sheets --count 100000
	$(BIN)/python -m tests.soak.applications
	$(BIN)/python -m tests.soak.ways

# Damaged model files and records.
fuzz: $(INSTALLED)
	$(BIN)/python -m tests.fuzz --count 10000

# Faults that no test notices.
mutation: $(INSTALLED)
	$(BIN)/python -m tests.mutation --count 300

bench: $(INSTALLED)
	$(BIN)/python -m benchmarks $(BENCH_ARGS)

# The banner of the theme about MkDocs 2, which pyproject.toml rules out, is no warning about these pages.
docs: $(DOCS)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean:
	rm -rf site build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis out/demo
	find actmax regularizers tests benchmarks -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

# The stamp is written last, so an interrupted installation is taken up again.
$(INSTALLED): pyproject.toml actmax/_version.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
	  echo "Expected Python 3.10 or newer. Received: $$($(PYTHON) --version 2>/dev/null || echo nothing), $(PYTHON)." \
	       "Name another one: make PYTHON=python3.12"; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@

$(DOCS): $(INSTALLED)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[docs]'
	@touch $@
