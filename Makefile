# Everything a person types. `make demo` and `make test` need nothing done before them.

# Which Python: as tools/venv.sh chooses, or as you name it (make test PYTHON=python3.13), which
# then replaces a .venv of another version.
PYTHON ?=
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# As on a processor without AVX-512 and AMX: make test AVX2=1 (demo and bench likewise)
ifdef AVX2
export MKL_ENABLE_INSTRUCTIONS := AVX2
export ONEDNN_MAX_CPU_ISA := AVX2
export ATEN_CPU_CAPABILITY := avx2
export NUMBA_CPU_NAME := haswell
endif

.PHONY: install wheel demo test test-slow fuzz soak lint docs picture bench clean

install:
	@sh tools/venv.sh $(VENV) $(PYTHON)
	@$(MAKE) --no-print-directory $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

wheel: install
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .
	@ls dist/*.whl

demo: install
	$(BIN)/atlasbasset demo

# Which tests run in one process: tests/side_by_side.py. Every process of a test would otherwise
# parse our sources again where the environment forbids Python to keep what it has parsed.
test test-slow: export PYTHONDONTWRITEBYTECODE =

test: install
	$(BIN)/python -m pytest -n 3 --dist loadfile

# All slow tests; those that need no package index: make test-slow SLOW="slow and not network"
SLOW ?= slow

test-slow: install
	$(BIN)/python -m pytest -m "$(SLOW)" -o timeout=900 -o faulthandler_timeout=0

# Damaged and odd inputs for every reader (tests/fuzz): make fuzz FUZZ_SECONDS=1200 FUZZ="--seed 3"
FUZZ_SECONDS ?= 300
FUZZ ?=

fuzz: install
	PYTHONPATH=tests $(BIN)/python -m fuzz --seconds $(FUZZ_SECONDS) $(FUZZ)

# Verbs under kills and failing storage (tests/soak): make soak SOAK_SECONDS=3600 SOAK="--seed 3"
SOAK_SECONDS ?= 300
SOAK ?=

soak: install
	PYTHONPATH=tests $(BIN)/python -m soak --seconds $(SOAK_SECONDS) $(SOAK)

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/mypy
	$(BIN)/mypy --config-file tests/mypy.ini tests
	$(BIN)/lint-imports

# The site, in site/: pages of docs/, reference from docstrings, tutorials that are run (minutes)
docs: install
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

picture: install
	$(BIN)/python tools/draw_architecture.py

bench: install
	OMP_WAIT_POLICY=PASSIVE THP_MEM_ALLOC_ENABLE=1 $(BIN)/python benchmarks/training_speed.py

clean:
	rm -rf $(VENV) demo runs dist site
