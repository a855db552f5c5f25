# Everything a contributor types. The two that matter: `make demo` and `make test`.
PYTHON ?= python3
# The exact versions that CI tests; the ranges that users get stand in pyproject.toml.
PIP := -q --disable-pip-version-check -c constraints.txt $(PIP_FLAGS)
SAMPLE := src/mien/samples/group.jpg

# What a training learns from; docs/training.md says how it comes about.
DATA ?= data/fer2013

.PHONY: demo test lint check wheel web web-check small clean

demo: .venv-demo/ready
	.venv-demo/bin/mien predict $(SAMPLE) --annotate demo-output --overwrite

test: .venv/ready
	.venv/bin/python -m pytest

check: lint test

lint: .venv/ready
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/pyright

# What the page needs to read pictures in the browser: ONNX Runtime Web, by the lock file's hashes. The wheel takes it along.
ORT_WEB := src/mien/web/onnxruntime
web: $(ORT_WEB)/ready

$(ORT_WEB)/ready: scripts/web/package-lock.json
	npm ci --prefix scripts/web --ignore-scripts --no-audit --no-fund --omit=dev
	mkdir -p $(ORT_WEB)
	cd scripts/web/node_modules/onnxruntime-web/dist && cp ort.wasm.min.mjs ort-wasm-simd-threaded.mjs ort-wasm-simd-threaded.wasm $(CURDIR)/$(ORT_WEB)
	@touch $@

# The page's types and, in the tests, its accessibility (axe-core).
web-check:
	npm ci --prefix scripts/web --ignore-scripts --no-audit --no-fund
	scripts/web/node_modules/.bin/tsc --project scripts/web

wheel: .venv/ready
	.venv/bin/python -m build --wheel --outdir dist

# The bundled model `small`, trained again (into runs/small.onnx); an interrupted run goes on.
small: .venv/ready
	.venv/bin/mien train $(DATA) --out runs/small --recipe recipes/small.toml --init default --teacher default
	.venv/bin/mien export runs/small --data $(DATA) --out runs/small-float.onnx --name small --overwrite
	.venv/bin/mien compress runs/small-float.onnx --data $(DATA) --out runs/small.onnx --overwrite
	.venv/bin/mien evaluate $(DATA) --model runs/small.onnx

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
