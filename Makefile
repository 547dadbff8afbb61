# Each word works from a fresh clone with nothing but Python >= 3.11.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: help setup run monitor test check bench simulate race crash life lock

help:            ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(STAMP)  ## make or update .venv
$(STAMP): requirements.lock pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
	@touch $@

run: setup       ## the exchange with the demo, a stream of leads, a table to watch
	@exec $(BIN)/exchange run

monitor: setup   ## Prometheus, and Grafana if there is one, over the running exchange
	@exec $(BIN)/python -m exchange.monitor

test: setup      ## the whole suite
	@$(BIN)/python -m pytest -n 2

check: setup     ## format, lint, types
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

SEED ?= 1
SEEDS ?= 1
simulate: setup  ## seeded days of trading with faults: make simulate SEED=7 SEEDS=200
	@$(BIN)/python -m tests.simulation --seed $(SEED) --seeds $(SEEDS)

race: setup      ## a million reservations by three processes: not one sold too many or too few
	@$(BIN)/python -m tests.race --reservations 1000000 --workers 3 --seed $(SEED)

KILLS ?= 50
crash: setup     ## workers killed again and again under load, and at every named point: make crash KILLS=50
	@KILLS=$(KILLS) $(BIN)/python -m pytest tests/acceptance/test_crashes.py

EXAMPLES ?= 2000
life: setup      ## lives of the books drawn anew, in memory and in Postgres: make life EXAMPLES=2000
	@LIFE_EXAMPLES=$(EXAMPLES) $(BIN)/python -m pytest tests/test_life.py

bench: setup     ## timings, beside a peer in the same run
	@$(BIN)/python -m benchmarks

lock:            ## resolve requirements.lock anew (needs uv)
	uv pip compile pyproject.toml --universal --python-version 3.11 --extra embedded --extra geo --extra samples \
		--group dev --generate-hashes --no-annotate --no-header --no-emit-index-url -q -U -o requirements.lock
