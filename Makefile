# Everything a contributor types. The two that matter: `make demo` and `make test`.
PYTHON ?= python3
# The exact versions that CI tests; the ranges that users get stand in pyproject.toml.
PIP := -q --disable-pip-version-check -c constraints.txt $(PIP_FLAGS)
SAMPLE := src/mien/samples/group.jpg

# What a training learns from; docs/train/train.md says how it comes about.
DATA ?= data/fer2013

.PHONY: demo test lint check docs wheel web web-check default clean

demo: .venv-demo/ready
	.venv-demo/bin/mien predict $(SAMPLE) --annotate demo-output --overwrite

test: .venv/ready
	.venv/bin/python -m pytest -n logical --dist worksteal

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

# The documentation's site, in site/; a warning is an error. What it needs keeps to itself (.venv-docs).
docs: .venv-docs/ready
	.venv-docs/bin/zensical build --strict

wheel: .venv/ready
	.venv/bin/python -m build --wheel --outdir dist

# The bundled model `default` (into runs/default.onnx) from nothing but data: first `large` and its ancestors, many hours on two
# cores. `make default LARGE=large` starts from the bundled `large`, 50 minutes. An interrupted run goes on.
LARGE ?= runs/large.onnx
TRAIN := .venv/bin/mien train $(DATA) --out
EXPORT = .venv/bin/mien export $(basename $@) --data $(DATA) --out $@ --overwrite

default: .venv/ready $(filter runs/%,$(LARGE))
	$(TRAIN) runs/default --recipe default --init $(LARGE) --teacher $(LARGE)
	.venv/bin/mien export runs/default --data $(DATA) --out runs/default-float.onnx --name default --label-answer fer2013 --overwrite
	.venv/bin/mien compress runs/default-float.onnx --data $(DATA) --out runs/default.onnx --overwrite
	.venv/bin/mien evaluate $(DATA) --model runs/default.onnx

runs/large-1.onnx: .venv/ready
	$(TRAIN) runs/large-1 --recipe large-1
	$(EXPORT)

runs/large-2.onnx: runs/large-1.onnx
	$(TRAIN) runs/large-2 --recipe large-2 --init $<
	$(EXPORT)

runs/large-3.onnx: runs/large-2.onnx
	$(TRAIN) runs/large-3 --recipe large-3 --teacher $<
	$(EXPORT)

runs/large-4.onnx: runs/large-3.onnx runs/large-2.onnx
	$(TRAIN) runs/large-4 --recipe large-4 --init $< --teacher runs/large-2.onnx --teacher $<
	$(EXPORT)

runs/large-5.onnx: runs/large-4.onnx runs/large-3.onnx
	$(TRAIN) runs/large-5 --recipe large-5 --init $< --teacher $< --teacher runs/large-3.onnx
	$(EXPORT)

runs/large.onnx: runs/large-4.onnx runs/large-5.onnx
	.venv/bin/mien ensemble $^ --data $(DATA) --out $@ --average-weights --overwrite

.venv-demo/ready: pyproject.toml constraints.txt
	@$(PYTHON) -m venv .venv-demo
	.venv-demo/bin/pip install $(PIP) .
	@touch $@

.venv/ready: pyproject.toml constraints.txt
	@$(PYTHON) -m venv .venv
	.venv/bin/pip install $(PIP) -e '.[dev]'
	@touch $@

.venv-docs/ready: pyproject.toml constraints.txt
	@$(PYTHON) -m venv .venv-docs
	.venv-docs/bin/pip install $(PIP) 'zensical>=0.0.60,<0.1' 'mkdocstrings[python]>=1,<2'
	@touch $@

clean:
	rm -rf .venv .venv-demo .venv-docs site dist build demo-output .pytest_cache .ruff_cache .hypothesis
