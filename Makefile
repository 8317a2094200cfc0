# Two virtual environments: .venv holds the service alone, .venv-dev everything.
PYTHON ?= python3
SERVICE := .venv/bin/python
DEV := .venv-dev/bin/python
PIP := -m pip install --quiet --disable-pip-version-check -c constraints.txt

# Otherwise ONNX Runtime reports to its maker.
export ORT_DISABLE_TELEMETRY := 1

.PHONY: demo test check smoke bench docs clean

demo: .venv/ready
	$(SERVICE) -m service demo

# The last step runs the offline half once: simulate, distil, evaluate, export, serve.
test: .venv-dev/ready
	$(DEV) -m pytest
	$(DEV) -m training smoke

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

.venv-dev/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-dev
	$(DEV) $(PIP) -e '.[train,dev]'
	touch $@

docs: .venv-dev/ready
	$(DEV) -m service openapi > docs/openapi.json

clean:
	rm -rf .venv .venv-dev build *.egg-info
