# Everything starts here. Each command sets up `.venv` from nothing but Python >= 3.11.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: demo test test-all bench clinic docs lint clean

demo: $(READY)  ## train on real data and show the report; then a sick recipe: diagnosed, healed, proven
	@mkdir -p demo
	@cd demo && ../$(BIN)/trainwright fit sklearn:breast_cancer --name demo-$$(date +%H%M%S) --budget 20s
	@cd demo && run=$$(../$(BIN)/trainwright runs --json | ../$(BIN)/python -c "import json,sys; print(json.load(sys.stdin)[0]['id'])") \
	  && ../$(BIN)/trainwright report $$run --out report.html \
	  && printf '\nnow a recipe that is ill twice over: eight layers of sigmoid, and a rate that is too low\n\n' \
	  && sick=sick-$$(date +%H%M%S) \
	  && ../$(BIN)/trainwright fit sklearn:digits --name $$sick --budget "150 steps" \
	        --set model.name=mlp --set model.depth=8 --set model.activation=sigmoid \
	        --set algorithm.optimizer=sgd --set algorithm.learning_rate=0.001 > /dev/null 2>&1 \
	  && ../$(BIN)/trainwright diagnose $$sick \
	  && ../$(BIN)/trainwright heal $$sick --save healed.toml --report heal.html \
	  && printf '\nnow:   open demo/heal.html and demo/report.html\nthen:  cd demo && ../.venv/bin/trainwright explain M204\n       ../.venv/bin/trainwright watch YOUR_SCRIPT.py\n       ../.venv/bin/trainwright heal YOUR.csv --target COLUMN\n'

test: $(READY) lint  ## what CI runs: lint, types, the import contract, the tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m "not slow"

test-all: $(READY) lint  ## the slow experiments too
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --hypothesis-profile search

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

bench: $(READY)  ## every figure of the README and of benchmarks/*.md, measured afresh (hours)
	$(BIN)/pip install -q -c constraints.txt skorch lightning keras
	for script in benchmarks/[a-z]*.py; do \
	  case $$script in *harness.py|*adapter.py) ;; *) OMP_NUM_THREADS=1 $(BIN)/python $$script --write || exit 1;; esac; done

clinic: $(READY)  ## sick and healthy programs, diagnosed: sensitivity, false alarms, confusion
	$(BIN)/python -m clinic.measure --seeds 5 --write
	$(BIN)/python -m clinic.measure --peers --seeds 5 --write
	$(BIN)/python -m clinic.measure --generated 200 --first-seed 1000 --write
	$(BIN)/python -m clinic.measure --everyday 200 --first-seed 1000 --write

docs: $(READY)  ## the generated pages: knobs and commands
	$(BIN)/python docs/generate.py

$(READY): pyproject.toml constraints.txt
	@echo "setting up .venv (a few minutes, once)"
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11))" || { echo "Python 3.11 or newer is needed: make PYTHON=python3.12 demo"; exit 2; }
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt -e '.[develop]'
	@touch $(READY)

clean:
	rm -rf .venv demo
