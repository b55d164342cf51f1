# Podium without Docker. `make` lists what there is. Works with GNU make 3.81 and BSD tools (macOS).

PY_FITS := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
# The first of these that is Python 3.11, 3.12 or 3.13; name another one with `make PYTHON=/path/to/python`.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c '$(PY_FITS)' 2>/dev/null && { echo $$p; exit; }; done; echo python3)
UV_VERSION := 0.13.8
UPGRADE ?=
# Libraries of models, by requirements-NAME.txt; PyTorch is apart.
EXTRAS := boost delta keras onnx statsmodels

BIN := .venv/bin
UV := $(BIN)/uv
HAS_UV := .venv/.stamp-uv
HAS_RUN := .venv/.stamp-run
HAS_LLM := .venv/.stamp-llm
HAS_DEV := .venv/.stamp-dev
FOR_DEV := -r requirements-dev.txt $(EXTRAS:%=-r requirements-%.txt)
# All examples of each property; plain pytest and test-fast try fewer (tests/conftest.py).
PYTEST := $(BIN)/python -m pytest --hypothesis-profile=thorough
# The commit goes into the image: lineage of what is trained in it.
COMPOSE := GIT_COMMIT=$$(git rev-parse HEAD 2>/dev/null || echo unknown) docker compose
# A backup belongs to whoever asked for it.
BACKUP := $(COMPOSE) run --rm --no-deps --user "$$(id -u):0"
COMPILE := $(UV) pip compile -q --universal --python-version 3.11 --generate-hashes \
	--custom-compile-command "make lock" $(UPGRADE)

# Without compiled bytecode every Airflow task starts seconds later.
unexport PYTHONDONTWRITEBYTECODE
# A foreign PYTHONPATH must not decide which podium runs.
unexport PYTHONPATH

.PHONY: help venv demo up down clean status backup restore test test-fast test-unit test-scenarios test-integration test-stack test-dags test-browser screenshots check docs format lock bench bench-quick bench-adopt bench-counting bench-fleet bench-gates bench-growth bench-ledger bench-lifecycle bench-live-gate bench-monitoring bench-page bench-parse bench-serving bench-score bench-sources bench-rossmann bench-waiting llm compose-up compose-down compose-backup compose-restore compose-smoke .env-complete

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' Makefile

venv: $(HAS_RUN) ## Make .venv with everything that runs (the other targets do it by themselves)

llm: $(HAS_LLM) ## Install what the model code-generation needs: PyTorch, transformers, PEFT

demo: $(HAS_RUN) ## Run the full lifecycle once: train, approve, promote, roll back (STORY=1: told for a presentation)
	@$(BIN)/podium stack demo $(if $(STORY),--story)

up: $(HAS_RUN) ## Start Postgres, S3, MLflow and Airflow and leave them running
	@$(BIN)/podium stack up

down: ## Stop them; the data stays
	@if [ -f $(HAS_RUN) ]; then $(BIN)/podium stack down; else echo "Nothing runs: there is no .venv."; fi

clean: ## Stop them and remove data, logs and logins from .podium; backups stay
	@if [ -f $(HAS_RUN) ]; then $(BIN)/podium stack clean; else echo "Nothing to remove: there is no .venv."; fi

backup: $(HAS_RUN) ## Copy databases and objects of the running stack (TO=folder; else .podium/backups/<UTC time>)
	@$(BIN)/podium stack backup $(if $(TO),--to "$(TO)")

restore: $(HAS_RUN) ## Copy a backup into an empty .podium: make restore FROM=folder
	@$(BIN)/podium stack restore --from "$(or $(FROM),$(error name the backup: make restore FROM=folder))"

status: $(HAS_RUN) ## Show the state of each part (exit code 2 of make: not everything runs)
	@$(BIN)/podium stack status

compose-up: .env-complete ## Build and start everything in containers (Docker with Compose 2), and wait until it is healthy
	$(COMPOSE) up --detach --build --wait
	@$(COMPOSE) ps --all
	@echo "Logins of Airflow and MLflow are in .env. 'make compose-down' stops everything, the data stays."

compose-down: .env-complete ## Stop the containers; their data stays
	$(COMPOSE) down

compose-backup: .env-complete ## Copy the containers' databases and objects to the new folder TO, while they run
	@test -n "$(TO)" || { echo "Say where to: make compose-backup TO=folder"; exit 1; }
	@mkdir -p "$(dir $(abspath $(TO)))"
	$(BACKUP) --volume "$(dir $(abspath $(TO))):/backups" initialise bash -ec "exec podium backup create '/backups/$(notdir $(abspath $(TO)))'"

compose-restore: .env-complete ## Copy the backup in the folder FROM into empty containers; then make compose-up
	@test -d "$(FROM)" || { echo "Say which backup: make compose-restore FROM=folder"; exit 1; }
	$(COMPOSE) up --detach --build --wait postgres store
	$(BACKUP) initialise bash -ec "exec podium initialise stores"
	$(BACKUP) --volume "$(abspath $(FROM)):/backup:ro" initialise bash -ec "exec podium backup restore /backup"

compose-smoke: $(HAS_RUN) ## Prove the containers: up, one lifecycle with approval over REST, an answer of the model server, down
	$(BIN)/python deploy/compose_smoke.py

.env-complete:
	@$(PYTHON) deploy/make_env.py

test: $(HAS_DEV) ## Run all tests
	@# Two at a time, the longest first: each leaves half of two cores idle; three take longer.
	$(MAKE) -j2 --keep-going test-integration test-unit test-stack test-scenarios test-dags

test-fast: $(HAS_DEV) ## Run what needs neither a stack nor a training, in under 90 s on two quiet cores
	@# The tests of the shipped models all train, and import torch.
	$(BIN)/python -m pytest tests/unit --ignore tests/unit/models -m "not trains" --numprocesses 2 --dist loadfile

test-integration: $(HAS_DEV) ## Run the tests that share one embedded stack
	$(PYTEST) tests/integration

test-stack: $(HAS_DEV) ## Take the other shipped models through their lifecycles on a stack, kill it, and see it heal
	$(PYTEST) tests/stack

test-dags: $(HAS_DEV) ## Run the tests of the Dag files and of the examples
	$(PYTEST) tests/dags tests/examples

test-browser: $(HAS_DEV) ## Let people log in, decide and roll back on the pages, in the system's Chromium
	$(PYTEST) tests/browser

screenshots: $(HAS_DEV) ## Take the pictures of the pages in docs/pictures again, in the system's Chromium
	$(PYTEST) tests/browser/screenshots.py

test-scenarios: $(HAS_DEV) ## Run what takes long: kills at every step, fifty processes at once, memory, documents followed
	$(PYTEST) tests/scenarios

test-unit: $(HAS_DEV) ## Run the tests of each room
	$(PYTEST) tests/unit $(wildcard tests/models)

# What `make bench` runs, the shortest first. SIZE is for the ledger and the page, which take longer with all rows.
SUITE := bench-parse bench-score bench-lifecycle bench-waiting bench-ledger bench-serving bench-growth bench-page bench-fleet
# What needs an Airflow of its own takes a minute and a half at any size; one bench of that kind is quick enough.
QUICK_SUITE := $(filter-out bench-waiting bench-page bench-fleet,$(SUITE))

bench: $(HAS_DEV) ## Measure Podium in under 30 minutes: docs/performance.md says what, .podium/bench/report.md has the figures
	@$(BIN)/python benchmarks/suite.py $(SUITE)

bench-quick: $(HAS_DEV) ## The same on small sizes, in under 5 minutes
	@QUICK=1 $(BIN)/python benchmarks/suite.py $(QUICK_SUITE)

bench-adopt: $(HAS_DEV) ## Time adopting a registry beside reading its bytes alone (SIZE=1000: so many versions of 5 MB)
	$(BIN)/python -W ignore benchmarks/adopt.py

bench-counting: $(HAS_DEV) ## Measure the model server with its requests counted, beside one that counts nothing
	$(BIN)/python -W ignore benchmarks/counting.py

bench-fleet: $(HAS_DEV) ## Say what 1,000 models weekly need, and check the prediction on 50 models at once
	$(BIN)/python -W ignore benchmarks/fleet.py

bench-gates: $(HAS_RUN) ## Time the bootstrap of the gates
	$(BIN)/python benchmarks/gates.py

bench-monitoring: $(HAS_DEV) ## Count the false alarms of monitoring over time, and how soon it sees a change
	$(BIN)/python -W ignore benchmarks/monitoring.py

bench-growth: $(HAS_DEV) ## Time promote, roll back and status with up to 10,000 versions and 1,000 models
	$(BIN)/python -W ignore benchmarks/growth.py

bench-ledger: $(HAS_DEV) ## Time the ledger at a million events, and stored live answers at a million rows (SIZE=100000: fewer)
	$(BIN)/python -W ignore benchmarks/ledger.py

bench-lifecycle: $(HAS_DEV) ## Time the lifecycle beside a plain script, a rollback until it is served, and the demo's start
	$(BIN)/python -W ignore benchmarks/lifecycle.py

bench-live-gate: $(HAS_DEV) ## Count how often the live gate passes worse candidates, and when it passes good ones
	$(BIN)/python benchmarks/live_gate.py

bench-rossmann: $(HAS_DEV) ## Measure rossmann-ensemble on weeks that it has not seen, beside its boosters; FOLDER=folder for other sales
	$(BIN)/python -W ignore benchmarks/rossmann.py $(FOLDER)

bench-parse: $(HAS_DEV) ## Time reading, building and serialising the Dags of up to 1,000 model files, beside dag-factory
	$(BIN)/python -W ignore benchmarks/parse.py

bench-page: $(HAS_DEV) ## Time the page "Models" with 200 models of up to 1,000 versions, and count its statements (SIZE=100000: fewer)
	$(BIN)/python -W ignore benchmarks/page.py

bench-score: $(HAS_RUN) ## Time batch scoring beside a bare predict
	$(BIN)/python -W ignore benchmarks/score.py

bench-sources: $(HAS_DEV) ## Time reading 10 million rows of 20 columns from S3 and Postgres beside bare pyarrow and COPY (SIZE=1000000: fewer)
	$(BIN)/python -W ignore benchmarks/sources.py

bench-serving: $(HAS_DEV) ## Measure the model server beside `mlflow models serve`, LitServe and BentoML, and swaps under load
	$(BIN)/python benchmarks/serving.py

bench-waiting: $(HAS_DEV) ## Measure what 1,000 waiting approvals cost the scheduler
	$(BIN)/python -W ignore benchmarks/waiting.py

MARKDOWN := README.md CHANGELOG.md CONTRIBUTING.md SECURITY.md docs include/data

check: $(HAS_DEV) ## Check format, lint, types, Markdown, and the language of documents and messages
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy include plugins
	$(BIN)/lint-imports --no-cache
	$(BIN)/podium validate-spec include/models
	$(BIN)/check-jsonschema --schemafile docs/model-file.schema.json include/models/*.yaml
	$(BIN)/hadolint Dockerfile
	$(BIN)/pymarkdown scan $(MARKDOWN)
	$(BIN)/python qa/check_language.py
	$(BIN)/check-jsonschema --builtin-schema vendor.citation-file-format CITATION.cff
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yaml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-issue-forms .github/ISSUE_TEMPLATE/bug.yml .github/ISSUE_TEMPLATE/idea.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-issue-config .github/ISSUE_TEMPLATE/config.yml

docs: $(HAS_DEV) ## Build the documents as a site with search, in site/
	@# The theme's notice about a later MkDocs says nothing of this build.
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "Open site/index.html, or serve the folder: $(BIN)/mkdocs serve"

format: $(HAS_DEV) ## Format the code
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

lock: $(HAS_UV) ## Renew requirements*.txt from requirements*.in (UPGRADE=--upgrade for newer versions)
	$(COMPILE) requirements.in -o requirements.txt
	for extra in $(EXTRAS); do $(COMPILE) requirements-$$extra.in -o requirements-$$extra.txt || exit 1; done
	$(COMPILE) requirements-serving.in -o requirements-serving.txt
	$(COMPILE) --excludes requirements-torch.txt requirements-llm.in -o requirements-llm.txt
	$(COMPILE) requirements-dev.in -c requirements.txt -o requirements-dev.txt
	printf 'uv==%s\nsetuptools>=77\n' $(UV_VERSION) | $(COMPILE) - -o requirements-uv.txt

$(BIN)/python:
	@$(PYTHON) -c '$(PY_FITS)' 2>/dev/null || { \
		echo "Podium needs Python 3.11, 3.12 or 3.13; $(PYTHON) is: $$($(PYTHON) --version 2>&1)"; \
		echo "Name one: make PYTHON=/path/to/python3.12"; exit 1; }
	@$(PYTHON) -m venv .venv || { \
		rm -rf .venv; echo "'$(PYTHON) -m venv' failed. On Debian and Ubuntu install python3-venv."; exit 1; }

# uv, and setuptools to install Podium itself without a look outside.
$(HAS_UV): requirements-uv.txt | $(BIN)/python
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements-uv.txt
	@touch $@

# uv does not read pip's configuration: where only pip knows the way to the packages, pip installs them (slower).
$(HAS_RUN): requirements.txt pyproject.toml $(HAS_UV)
	$(UV) pip install -q --python $(BIN)/python --require-hashes --compile-bytecode -r requirements.txt \
		|| $(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements.txt
	$(UV) pip install -q --python $(BIN)/python --no-deps --no-build-isolation --offline -e .
	@touch $@

# PyTorch last: what it needs besides is there then, by hash, so pip fetches PyTorch alone (nothing if it is there
# already) in the build that pip's configuration chooses for this machine.
$(HAS_LLM): requirements-llm.txt requirements-torch.txt $(HAS_RUN)
	$(UV) pip install -q --python $(BIN)/python --no-deps --require-hashes --compile-bytecode -r requirements-llm.txt \
		|| $(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --require-hashes -r requirements-llm.txt
	$(BIN)/python -m pip install -q --disable-pip-version-check -r requirements-torch.txt
	@touch $@

$(HAS_DEV): requirements-dev.txt $(EXTRAS:%=requirements-%.txt) $(HAS_LLM)
	$(UV) pip install -q --python $(BIN)/python --require-hashes --compile-bytecode $(FOR_DEV) \
		|| $(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes $(FOR_DEV)
	@touch $@
