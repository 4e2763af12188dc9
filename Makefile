# Everything here runs in a virtual environment of the checkout (.venv), which is set up as needed; ROS need not be installed.

PYTHON ?= python3
DATA ?=
VIEW ?=
ARGS ?=
VENV_PYTHON := .venv/bin/python

# ROS 2 of the system must not leak into the one from pip.
unexport PYTHONPATH AMENT_PREFIX_PATH CMAKE_PREFIX_PATH COLCON_PREFIX_PATH RMW_IMPLEMENTATION VIRTUAL_ENV
ifneq ($(ROS_DISTRO)$(_ROS_WHEELS_BOOTSTRAP_COMPLETE),)
unexport LD_LIBRARY_PATH _ROS_WHEELS_BOOTSTRAP_COMPLETE
endif

# Without bytecode each process that a demo or a test starts would compile PyTorch anew, which takes longer than all else.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint fuzz soak clean

help: ## List the targets
	@echo 'Usage: make TARGET [PYTHON=python3.12] [DATA=/path/to/nuscenes] [VIEW=1] [ARGS="more arguments"]'
	@sed -n 's/^\([a-z]*\):.*## /  \1\t/p' Makefile

setup: ## Set up what is missing; the other targets do it too
	@$(PYTHON) tools/bootstrap.py

demo: ## Run the node on synthetic scenes, or on the nuScenes data root in DATA, and write pictures; VIEW=1: open Rerun
	@$(PYTHON) tools/bootstrap.py $(if $(VIEW),view)
	@$(VENV_PYTHON) -m occfusion_ros.ros.demo $(if $(DATA),--data "$(DATA)") $(if $(VIEW),--view) $(ARGS)

test: ## Run all tests, at last those that play sensors in real time
	@$(PYTHON) tools/bootstrap.py tests
ifeq ($(ARGS),)
	@OMP_NUM_THREADS=1 $(VENV_PYTHON) -m pytest -q -rs -n 6 --dist loadfile --no-loadscope-reorder -m "not sensors"
	@$(VENV_PYTHON) -m pytest -q -rs -n 2 --dist loadfile --no-loadscope-reorder -m sensors
else
	@$(VENV_PYTHON) -m pytest -q $(ARGS)
endif

fuzz: setup ## Send malformed messages through conversions and node for some minutes; figures in out/fuzz.json
	@$(VENV_PYTHON) -m benchmarks.fuzz $(ARGS)

lint: setup ## Check the style of the code, and the types of what has no ROS in it
	@$(VENV_PYTHON) -m ruff check .
	@$(VENV_PYTHON) -m ruff format --check .
	@$(VENV_PYTHON) -m mypy

soak: setup ## Run the node under load for an hour and write docs/reliability.md
	@$(VENV_PYTHON) -m benchmarks.load soak --minutes 30 --backend null
	@$(VENV_PYTHON) -m benchmarks.load soak --minutes 10 --backend nano
	@$(VENV_PYTHON) -m benchmarks.load soak --minutes 10 --backend nano --memory short
	@$(VENV_PYTHON) -m benchmarks.load load
	@$(VENV_PYTHON) -m benchmarks.load release

clean: ## Remove the virtual environment and everything that builds and runs have made
	rm -rf .venv build install log out .pytest_cache .hypothesis .mypy_cache .ruff_cache *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
