# Trueup. `make demo` shows it, `make test` tests it; both set up what they need.

.POSIX:

VENV = .venv
BIN = $(VENV)/bin
CODE = src tests benchmarks scripts docs
PURE = tests/kernel tests/model tests/mapping tests/governance tests/billing tests/architecture
ARGS =
SCHEDULES = 1000

help:
	@echo 'make demo     set up, then the demo firm: five simulated systems, three months, pages in the browser'
	@echo 'make test     set up, then every check and every test, browser tests included'
	@echo 'make check    the quick part: style, types, import law, mapping examples, reference pages, pure tests'
	@echo 'make bench    measure; one or some with ONLY=name,name'
	@echo 'make laws     the laws of the ledger under thousands of generated schedules (SCHEDULES=n for each of two tests)'
	@echo 'make docs     write the reference pages anew from the code'
	@echo 'make pictures take the pictures of the README anew, from the demo that runs'
	@echo 'make lock     resolve the requirement lists anew (ARGS=--upgrade takes newer releases)'
	@echo 'make setup    make .venv; done by the others where it is needed'
	@echo 'make clean    remove .venv and what tools left behind; the data of a demo stay'

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml requirements/build.txt requirements/runtime.txt requirements/dev.txt
	@sh scripts/setup.sh $(VENV)

demo: setup
	@$(BIN)/trueup demo $(ARGS)

check: rules pure

rules: setup style types imports reference

style: setup
	@$(BIN)/ruff check --quiet $(CODE)
	@$(BIN)/ruff format --quiet --check $(CODE)
	@echo 'style: clean'

types: setup
	@$(BIN)/mypy

imports: setup
	@$(BIN)/lint-imports --no-logo >$(VENV)/imports.log 2>&1 || { cat $(VENV)/imports.log; exit 1; }
	@tail -n 2 $(VENV)/imports.log | grep .

reference: setup
	@$(BIN)/python docs/generate.py --check

pure: setup
	@$(BIN)/pytest -n 2 --dist loadfile $$(ls -d $(PURE) 2>/dev/null)

# All of check is in here; the pure tests are part of the one run that everything is.
test: rules
	@TRUEUP_CHROMIUM="$$($(BIN)/python scripts/chromium.py)"; export TRUEUP_CHROMIUM; \
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

# Generated schedules over PostgreSQL, as many as asked for: make laws SCHEDULES=5000
laws: setup
	@TRUEUP_LEDGER_SCHEDULES=$(SCHEDULES) POLARS_MAX_THREADS=1 $(BIN)/pytest -n 0 tests/ledger/test_laws_machine.py $(ARGS)

bench: setup
	@$(BIN)/python benchmarks/run.py "$(ONLY)"

docs: setup
	@$(BIN)/python docs/generate.py

pictures: setup
	@$(BIN)/python scripts/pictures.py $(ARGS)

lock: setup
	@VENV=$(VENV) sh scripts/lock.sh $(ARGS)

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis

.PHONY: help setup demo check rules style types imports reference pure test laws bench docs pictures lock clean
