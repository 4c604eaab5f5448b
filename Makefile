# Every target makes the environment it needs. The two to know: `make demo` and `make test`.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
SOURCES := pyproject.toml setup.py MANIFEST.in $(shell find src -name '*.[chp]*')
PYTEST := pytest -c pyproject.toml

.PHONY: demo test test-main test-serial test-numpy1 check docs bench parity stress accuracy learning debug sanitize dist clean
.DELETE_ON_ERROR:

demo: .venv/.demo  ## Build, do the main job on real input, and train: seconds
	.venv/bin/fastembed demo --folder build/demo

test: test-main test-serial test-numpy1  ## Build three ways and run all tests
	@echo
	@echo "make test: everything passed: the suite on the default build; and, without the comparisons with real Keras 3,"
	@echo "on a build without OpenMP and on the wheel with NumPy 1.26."

test-main: .venv/.test
	@echo "== The suite: default build, this checkout =="
	FASTEMBED_EXPECT_OPENMP=1 .venv/bin/$(PYTEST)

# The other two builds are installed packages, tested from a folder where the checkout cannot be imported.
INSTALLED := pytest -c ../pyproject.toml --rootdir .. -p no:cacheprovider --ignore=../tests/fixtures --ignore-glob='../*/demo/train.py' ../tests --pyargs fastembed
# What a build does not change was tested on the default one: what real Keras answers, and what processes of the wheel do.
WITHOUT_KERAS := --ignore-glob='../tests/*against_keras.py' --ignore=../tests/test_parity.py
WITHOUT_PROCESSES := --ignore=../tests/test_stress.py

test-serial: .venv/.test dist
	@echo "== The suite: built without OpenMP (FASTEMBED_OPENMP=0) =="
	rm -rf build/serial
	FASTEMBED_OPENMP=0 .venv/bin/pip install --quiet --no-deps --target build/serial dist/*.tar.gz
	cd build && FASTEMBED_EXPECT_OPENMP=0 PYTHONPATH=serial ../.venv/bin/$(INSTALLED) $(WITHOUT_KERAS)

test-numpy1: dist
	@echo "== The suite: the wheel, in an environment of its own with NumPy 1.26 =="
	rm -rf .venv-numpy1
	$(PYTHON) -m venv .venv-numpy1
	.venv-numpy1/bin/pip install --quiet 'numpy==1.26.*' "$$(ls dist/*.whl)[keras-files]" pandas pytest pytest-timeout hypothesis
	cd build && FASTEMBED_EXPECT_OPENMP=1 ../.venv-numpy1/bin/$(INSTALLED) $(WITHOUT_PROCESSES)

check: .venv/.test  ## The linters, the types, the stubs against the compiled modules, the floors
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	PATH=".venv/bin:$$PATH" cython-lint src
	.venv/bin/vermin --quiet --target=3.9- --no-tips --violations --eval-annotations fastembed
	.venv/bin/mypy
	.venv/bin/python -m mypy.stubtest --mypy-config-file pyproject.toml --ignore-missing-stub \
		fastembed._rows fastembed._additions fastembed._steps fastembed._pooling fastembed._team fastembed._memory
	.venv/bin/lint-imports

docs: .venv/.docs  ## The pages of docs/ and of the docstrings, into build/docs/index.html; a warning is an error
	.venv/bin/sphinx-build --quiet --fail-on-warning --keep-going --fresh-env docs build/docs
	@echo "build/docs/index.html"

bench: .venv-bench/.bench  ## All cases beside all peers, half an hour; writes benchmarks/RESULTS.md (BENCH=--quick: two minutes)
	.venv-bench/bin/python -m benchmarks --wheel build/bench/*.whl --json build/bench/rounds.json $(BENCH)

parity: .venv-parity/.parity  ## Each feature beside every Keras, and random programs run by both; writes docs/compatibility.md (PARITY="--seed 3")
	.venv-parity/bin/$(PYTEST) tests/test_ids.py  # tensors of all of them as ids
	PYTHONPATH=tests .venv-parity/bin/python -m parity --write $(PARITY)

stress: .venv/.test  ## What is promised about threads in real processes: goal, measured, holds or falls short
	rm -rf build/other
	FASTEMBED_OPENMP=0 .venv/bin/pip install --quiet --no-deps --target build/other .
	FASTEMBED_OTHER_BUILD=build/other PYTHONPATH=tests .venv/bin/python -m stress

accuracy: .venv/.test  ## Steps on rows beside steps on whole tables, 20,000 of each optimizer: goal, measured, holds or falls short
	PYTHONPATH=tests .venv/bin/python -m accuracy

learning: .venv/.test  ## A real text, learned by us and by real Keras over five seeds; needs the real files (CONTRIBUTING.md): minutes
	PYTHONPATH=tests .venv/bin/python -m learning

debug: .venv/.test  ## The suite on an unoptimised build with bounds checks (slow)
	.venv/bin/python tests/sanitize.py debug

sanitize: .venv/.test  ## The kernels under the compiler's sanitizers, and debug: minutes; QUICK=1 for a short form
	.venv/bin/python tests/sanitize.py $(if $(QUICK),--quick)

.venv-parity/.parity: $(SOURCES)
	$(PYTHON) -m venv .venv-parity
	.venv-parity/bin/pip install --quiet --upgrade pip
	.venv-parity/bin/pip install --quiet --editable '.[parity]'
	touch $@

dist: .venv/.test $(SOURCES)  ## The sdist, and the wheel that pip builds of it
	rm -rf dist
	.venv/bin/python -m build --outdir dist . > build/dist.log 2>&1 || (cat build/dist.log; exit 1)
	.venv/bin/python tests/check_dist.py dist

clean:
	rm -rf .venv .venv-bench .venv-numpy1 .venv-parity build dist fastembed/*.so *.egg-info

.venv/bin/python:
	$(PYTHON) -m venv .venv
	.venv/bin/pip install --quiet --upgrade pip

.venv/.demo: .venv/bin/python $(SOURCES)
	.venv/bin/pip install --quiet --editable '.[demo]'
	touch $@

.venv/.test: .venv/bin/python $(SOURCES)
	.venv/bin/pip install --quiet --editable '.[demo,test,dev]'
	mkdir -p build
	touch $@ .venv/.demo

.venv/.docs: .venv/.demo
	.venv/bin/pip install --quiet 'keras-fastembed[docs]'  # of what is installed: brings the tools, builds nothing
	touch $@

.venv-bench/.bench: $(SOURCES)
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/pip install --quiet --upgrade pip
	.venv-bench/bin/pip install --quiet --editable '.[bench]'
	rm -rf build/bench
	.venv-bench/bin/pip wheel --quiet --no-deps --wheel-dir build/bench .
	touch $@
