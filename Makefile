# One front door. Every target does its own set-up: Python 3.11 or newer, git and make are all that has to be there.
# Nothing is installed outside .venv, and after the installation nothing is fetched.

PYTHON ?= python3
SCALE ?= smoke
STUDY ?=
SEEDS ?=
ARMS ?=
MAIN ?=
JOBS ?=

VENV := .venv
PY := $(VENV)/bin/python
# The installation is redone when what it is made from changes: the declared packages, the pins, or the place.
INSTALLED := $(VENV)/installed-$(shell (pwd -P; cat pyproject.toml constraints.txt) | cksum | cut -d ' ' -f 1)

# No package of the user's, no configuration of the user's, no model hub: the same run for everybody.
unexport PYTHONPATH PYTHONHOME PYTHONSTARTUP
export PYTHONNOUSERSITE := 1
export JUPYTER_NO_CONFIG := 1
export JUPYTER_PREFER_ENV_PATH := 1
export JUPYTER_PATH :=
export JUPYTER_CONFIG_DIR := $(CURDIR)/$(VENV)/var/jupyter/config
export JUPYTER_DATA_DIR := $(CURDIR)/$(VENV)/var/jupyter/data
export JUPYTER_RUNTIME_DIR := $(CURDIR)/$(VENV)/var/jupyter/runtime
export IPYTHONDIR := $(CURDIR)/$(VENV)/var/ipython
export MPLCONFIGDIR := $(CURDIR)/$(VENV)/var/matplotlib
export HF_HOME := $(CURDIR)/$(VENV)/var/huggingface
export TORCH_HOME := $(CURDIR)/$(VENV)/var/torch
export HF_HUB_OFFLINE := 1
export TRANSFORMERS_OFFLINE := 1
export HF_HUB_DISABLE_TELEMETRY := 1
# A notebook's kernel listens on the loopback only, and frozen modules would make its debugger complain on every page.
export PYDEVD_DISABLE_FILE_VALIDATION := 1
# Intel's and GNU's thread pools take their size from here; torch and OpenBLAS follow.
export OMP_NUM_THREADS ?= $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)

.DEFAULT_GOAL := help
.PHONY: help install book check-book check-site exercises slides pdf api test lint format ablations verify-results kill-grid weights figures readme constraints clean distclean

help: ## show this list
	@echo "CausalPose. Usage: make TARGET"
	@echo
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo
	@echo "Variables: PYTHON=$(PYTHON)  SCALE=smoke|book  STUDY=one study's name  SEEDS=0,1,2  JOBS=2"

install: $(INSTALLED) ## make .venv and install the project with its pinned packages (every other target does it by itself)

$(INSTALLED):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	    || { echo "error: Python 3.11 or newer is needed, but '$(PYTHON)' is $$($(PYTHON) -V 2>&1 | head -n 1); name another: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@# A virtual environment names its own place: one that was copied or moved along with the folder is made anew.
	@grep -qs "$$(pwd -P)/.venv" $(VENV)/bin/activate || rm -rf $(VENV)
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	@echo "Installing the packages of constraints.txt into .venv (some minutes the first time)"
	@$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[book,test,dev]'
	@# Each kernel would warn that its sockets, which are on the loopback only, are not encrypted: 28 times a book.
	@mkdir -p $(IPYTHONDIR)/profile_default && echo 'c.IPKernelApp.log_level = 40' > $(IPYTHONDIR)/profile_default/ipython_kernel_config.py
	@rm -f $(VENV)/installed-* && touch $@

book: $(INSTALLED) ## run the chapters, build the book and check every page
	@$(PY) -m tools.build_book
	@echo
	@echo "The book: file://$(CURDIR)/_build/html/index.html"

check-book: $(INSTALLED) ## check the pages that are already built
	@$(PY) -m tools.check_book

check-site: $(INSTALLED) ## open every built page in Chromium: sizes, dark mode, accessibility, no network (SHOTS=folder keeps pictures)
	@$(PY) -m tools.check_site $(if $(SHOTS),--shots "$(SHOTS)")

exercises: $(INSTALLED) ## write the students' and the solved notebooks, and run the students' ones (minutes)
	@$(PY) -m tools.exercise_notebooks --run

slides: $(INSTALLED) ## lecture slides from the built chapters
	@$(PY) -m tools.build_slides
	@$(PY) -m tools.check_slides

pdf: $(INSTALLED) ## the built book as one PDF (needs Chromium)
	@$(PY) -m tools.build_pdf

api: $(INSTALLED) ## write the pages of the library's reference again (after a module came or went)
	@$(PY) -m tools.api_pages

test: lint ## check the style and run the whole test-suite
	@OMP_NUM_THREADS=1 $(PY) -m pytest -q --junitxml=runs/tests/report.xml
	@echo
	@echo "Tests passed; report: file://$(CURDIR)/runs/tests/report.xml"

lint: $(INSTALLED) ## check the style only
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .

format: $(INSTALLED) ## put the code into the project's style
	@$(PY) -m ruff check --fix .
	@$(PY) -m ruff format .

ablations: $(INSTALLED) ## run the ablation grid at SCALE=smoke or book (STUDY=name runs one, SEEDS=0,1,2 and JOBS=2 as you like)
	@$(PY) -m causalpose ablate --scale "$(SCALE)" $(if $(STUDY),--study "$(STUDY)") $(if $(SEEDS),--seeds "$(SEEDS)") $(if $(JOBS),--jobs "$(JOBS)") $(if $(ARMS),--arms "$(ARMS)") $(if $(MAIN),--main)

verify-results: $(INSTALLED) ## run one drawn cell of the recorded studies again and compare (STUDY=name draws from one)
	@OMP_NUM_THREADS=1 $(PY) tools/verify_results.py $(if $(STUDY),--study "$(STUDY)")

kill-grid: $(INSTALLED) ## kill a real smoke grid ten times at random moments and compare its tables with an undisturbed run's (minutes)
	@$(PY) -m tools.kill_grid

weights: $(INSTALLED) ## train the shipped weights again (hours on two cores; continues after an interruption)
	@$(PY) -m causalpose.weights.make

figures: $(INSTALLED) ## make the pictures of figures/ again
	@$(PY) figures/make.py

readme: $(INSTALLED) ## write the recorded results into README.md
	@$(PY) tools/readme_table.py

constraints: $(INSTALLED) ## pin what is installed now in constraints.txt
	@$(PY) tools/pin_versions.py

clean: ## remove the built book, its cache and the test caches (keeps runs/ and .venv)
	@rm -rf _build .pytest_cache .ruff_cache .hypothesis
	@find causalpose tests tools book -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean ## remove .venv as well
	@rm -rf $(VENV)
