# Everything a contributor types. The two that matter: `make demo` and `make test`.
PYTHON ?= python3
# The exact versions that CI tests; the ranges that users get stand in pyproject.toml.
PIP := -q --disable-pip-version-check -c constraints.txt $(PIP_FLAGS)
SAMPLE := src/mien/samples/group.jpg

.PHONY: demo test lint check wheel clean

demo: .venv-demo/ready
	.venv-demo/bin/mien predict $(SAMPLE) --annotate demo-output --overwrite

test: .venv/ready
	.venv/bin/python -m pytest

check: lint test

lint: .venv/ready
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/pyright

wheel: .venv/ready
	.venv/bin/python -m build --wheel --outdir dist

.venv-demo/ready: pyproject.toml constraints.txt
	@$(PYTHON) -m venv .venv-demo
	.venv-demo/bin/pip install $(PIP) .
	@touch $@

.venv/ready: pyproject.toml constraints.txt
	@$(PYTHON) -m venv .venv
	.venv/bin/pip install $(PIP) -e '.[dev]'
	@touch $@

clean:
	rm -rf .venv .venv-demo dist build demo-output .pytest_cache .ruff_cache .hypothesis
