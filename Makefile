# Without a ROS distribution: `make demo` and `make test` set everything up in .venv. With one, use rosdep and colcon (README.md).

# A sourced ROS distribution or another virtual environment must not leak into .venv.
unexport AMENT_PREFIX_PATH CMAKE_PREFIX_PATH COLCON_PREFIX_PATH LD_LIBRARY_PATH PYTHONHOME PYTHONPATH
unexport RMW_IMPLEMENTATION CYCLONEDDS_URI FASTRTPS_DEFAULT_PROFILES_FILE ROS_DISCOVERY_SERVER
unexport VIRTUAL_ENV _ROS_WHEELS_BOOTSTRAP_COMPLETE
SHELL := /bin/bash

# The Python that .venv is made with.
PYTHON ?= $(shell for python in python3.11 python3.12 python3.10 python3; do \
    $$python -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null && { echo $$python; break; }; done)

# What the demo shows: a video, an image folder or a camera's index. Empty: the clip of this repository.
INPUT ?=

# Not empty: the demo compares estimates with and without a depth camera.
DEPTH ?=

# What `make bench` measures and where the figures go; see docs/performance.md.
BENCH ?= --json bench.json

.PHONY: help setup setup-test demo teleop-demo bench test test-fast fuzz test-numpy1 test-colcon test-distros check-wheels lerobot ruff lint format docs lock clean

help:
	@echo 'make demo                    run the ROS 2 node on the clip of this repository'
	@echo 'make demo INPUT=<source>     the same on a video, an image folder or a camera (its index)'
	@echo 'make demo DEPTH=1            errors on that clip with a depth camera, beside those without'
	@echo 'make teleop-demo             a simulated robot arm follows the hands of that clip (needs PyTorch: 7 GB)'
	@echo 'make bench                   measure how fast everything is here, into bench.json'
	@echo 'make test                    lint and all tests'
	@echo 'make test-fast               ruff and the tests that need neither ROS nor much time'
	@echo 'make fuzz                    damaged inputs for every reader, ten minutes (FUZZ="images videos --minutes 60")'
	@echo 'make test-numpy1             the fast tests without ROS in .venv-numpy1, with numpy 1'
	@echo 'make test-colcon             colcon build, and the smoke tests with colcon test'
	@echo 'make test-distros            the tests of the library with the oldest and the newest versions, a minute each'
	@echo 'make check-wheels            whether every dependency has a wheel for 64-bit ARM'
	@echo 'make lerobot                 .venv-lerobot, for wildhands export lerobot and teleoperation in LeRobot (8 GB)'
	@echo 'make lint | make format      ruff and mypy | ruff'
	@echo 'make docs                    build the documentation into site/'
	@echo 'make lock                    resolve requirements/*.in into requirements/*.lock anew'
	@echo 'make clean                   remove .venv and all outputs'

setup:
	@test -n '$(PYTHON)' || { echo 'No Python 3.10, 3.11 or 3.12 found: sudo apt install python3 python3-venv python3-dev, or make PYTHON=<path>' >&2; exit 1; }
	@$(PYTHON) tools/setup_env.py

# Adds PyTorch, MediaPipe, pytest ... to .venv.
setup-test: setup
	@$(PYTHON) tools/setup_env.py test

demo: $(if $(DEPTH),setup-test,setup)
	@.venv/bin/wildhands demo $(if $(DEPTH),--depth) $(if $(INPUT),'$(INPUT)')

# Retargeting to the robot hand needs PyTorch.
teleop-demo: setup-test
	@.venv/bin/wildhands demo --robot $(if $(INPUT),'$(INPUT)')

bench: setup-test
	@.venv/bin/wildhands bench $(BENCH)

# First what neither starts nodes nor measures time, in two processes; then the rest, one test after the other. All
# of it, whether the first part passes or not.
test: lint
	@.venv/bin/python -m pytest -m 'not ros and not alone' -n 2 --dist loadfile; first=$$?; \
	    .venv/bin/python -m pytest -m 'ros or alone' $$(grep -lE 'mark\.(ros|alone)' test/test_*.py) && exit $$first

# What to run before a push: no ROS graph, no long tests; ruff, but not mypy.
test-fast: ruff
	@.venv/bin/python -m pytest -m 'not slow and not ros and not alone' -n 2 --dist loadfile

# Which readers, and for how long; see test/fuzz.py.
FUZZ ?= --minutes 10

fuzz: setup-test
	@.venv/bin/python test/fuzz.py $(FUZZ)
	@.venv/bin/python test/fuzz_node.py --count 2000

# The versions are the newest that work with numpy 1, not those of the lock files.
test-numpy1: setup
	@test -x .venv-numpy1/bin/python || .venv/bin/uv venv --quiet --python .venv/bin/python .venv-numpy1
	@.venv/bin/uv --config-file requirements/uv.toml pip install --python .venv-numpy1/bin/python 'numpy<2' 'setuptools<80' -e '.[test]'
	@.venv-numpy1/bin/python -m pytest -m 'not slow and not ros and not alone' -n 2 --dist loadfile

# As a user with a ROS distribution does.
test-colcon: setup-test
	@$(PYTHON) tools/colcon_workspace.py

# The library with the versions of Ubuntu 22.04, and with the newest of everything.
test-distros:
	@$(PYTHON) tools/distro_env.py humble --quick
	@$(PYTHON) tools/distro_env.py newest --quick

check-wheels: setup
	@.venv/bin/python tools/check_wheels.py

# lerobot has its own torch.
lerobot: setup
	@test -x .venv-lerobot/bin/python || .venv/bin/uv venv --quiet --python .venv/bin/python .venv-lerobot
	@.venv/bin/uv pip install --python .venv-lerobot/bin/python -r requirements/lerobot.txt
	@.venv/bin/uv pip install --quiet --python .venv-lerobot/bin/python --no-deps --no-build-isolation -e . -e integrations/lerobot

ruff: setup-test
	@.venv/bin/ruff check --quiet .
	@.venv/bin/ruff format --quiet --check . || { echo 'Not formatted: make format' >&2; exit 1; }

lint: ruff
	@.venv/bin/hadolint Dockerfile
	@.venv/bin/mypy

format: setup-test
	@.venv/bin/ruff check --fix .
	@.venv/bin/ruff format .

# Its tools stay out of .venv: they read the sources and need nothing that is installed there.
docs:
	@test -x .venv-docs/bin/mkdocs || { $(PYTHON) -m venv .venv-docs && .venv-docs/bin/pip install --quiet -r requirements/docs.txt; }
	@$(PYTHON) tools/draw_architecture.py
	@NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --strict --quiet
	@echo 'open site/index.html'

LOCK := .venv/bin/uv --config-file requirements/uv.toml pip compile --quiet --universal --python-version 3.10 --no-header --no-annotate
lock: setup
	@$(LOCK) --upgrade requirements/test.in -o requirements/test.lock
	@$(LOCK) --upgrade requirements/demo.in -c requirements/test.lock -o requirements/demo.lock

clean:
	rm -rf .venv .venv-distros .venv-docs .venv-lerobot .venv-numpy1 site .mypy_cache build install log demo_output training_output wildhands_ros.egg-info
