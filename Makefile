# The two commands of the README (`make run`, `make test`) and the ones of a developer.
SHELL := /bin/sh
PORT ?= 8000
BUDGET_S ?= 120
PYTHON := .venv/bin/python
STATE := $(or $(CIM_STATE),.cim)
VIEWER := services/static/viewer/index.html
MODULES := services/viewer/node_modules/.ready
# one process more than cores: some tests wait, for time limits above all
SPREAD := -n $(shell expr $$(nproc) + 1) --dist loadfile --no-loadscope-reorder
# one sample city, loaded and tiled once, for the tests without clients and those with
SHARED := [ -n "$$CIM_TESTS_KEEP" ] || { export CIM_TESTS_KEEP="$$(mktemp -d)"; trap 'rm -rf "$$CIM_TESTS_KEEP"' EXIT; };
NPM := cd services/viewer && ../../setup/node npm
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.PHONY: run test quick long lint lint-python lint-viewer units bench lock clean clients viewer bundle

# the main job: sample city → ingest → tiles → serve; what is there already is not done again
run: .venv/.ready $(VIEWER)
	@cim init
	@[ -f $(STATE)/sample/dataset.toml ] || cim sample $(STATE)/sample
	@cim ingest $(STATE)/sample
	@cim tiles
	@exec cim serve --host 0.0.0.0 --port $(PORT)

test: .venv/.ready $(VIEWER) $(MODULES)
	@$(MAKE) --no-print-directory -j 2 -O lint units
	@$(SHARED) $(PYTHON) -m pytest $(SPREAD) -m "not client and not long" && \
	  $(PYTHON) -m pytest -m "client and not long" # a browser that draws without a GPU needs all cores

# lint, types and every test that needs neither database nor client
quick: .venv/.ready $(MODULES)
	@$(MAKE) --no-print-directory -j 2 -O lint units
	$(PYTHON) -m pytest -q $(SPREAD) -m "not database and not client"

# what takes minutes: whole cities by the hundred thousand; kills and broken files, BUDGET_S seconds each; 200 edits
long: .venv/.ready
	$(PYTHON) -m pytest -m long
	CIM_TEST_BUDGET_S=$(BUDGET_S) $(PYTHON) -m pytest tests/test_kills.py tests/ingest/test_kills_of_readers.py tests/ingest/test_fuzz.py \
	  tests/tiles/test_incremental.py

lint: lint-python lint-viewer

lint-python: .venv/.ready
	ruff check .
	ruff format --check .
	mypy

lint-viewer: $(MODULES)
	$(NPM) run --silent check
	$(NPM) run --silent lint

# the viewer's parts that need no browser
units: $(MODULES)
	$(NPM) test --silent

# one archive that installs on a machine without network
bundle: .venv/.ready $(VIEWER)
	setup/bundle

lock:
	.venv/bin/uv pip compile -q pyproject.toml --all-extras --universal --python-version 3.12 --generate-hashes \
	  --no-header -o requirements.lock

.venv/.ready: requirements.lock pyproject.toml setup/environment
	setup/environment
	@[ -n "$$CIM_DATABASE_URL" ] || setup/packages '/usr/share/postgresql/*/extension/postgis.control' postgresql-postgis
	touch $@

clean:
	rm -rf .venv .cim .mypy_cache .ruff_cache .pytest_cache build dist

# what tests with real clients need; where it is missing they are skipped and say so
clients: .venv/.ready tests/node/node_modules

tests/node/node_modules: tests/node/package-lock.json .venv/.ready
	cd tests/node && ../../setup/node npm ci --no-audit --no-fund --silent
	touch $@

viewer: $(VIEWER)

$(VIEWER): $(shell find services/viewer/src -type f) services/viewer/index.html services/viewer/vite.config.ts \
  $(MODULES)
	$(NPM) run --silent build
	touch $@

$(MODULES): services/viewer/package-lock.json .venv/.ready
	$(NPM) ci --no-audit --no-fund --silent
	touch $@

# pages that are made from the catalog and the program, and the types of the viewer
.PHONY: docs
docs: .venv/.ready
	$(PYTHON) -m services.docs.catalog_pages
	$(PYTHON) -m services.docs.program_pages
	$(PYTHON) -m services.docs.viewer_types

bench: .venv/.ready
	$(PYTHON) -m tests.benchmarks.run
	$(PYTHON) -m tests.benchmarks.client
