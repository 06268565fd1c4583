# Every target sets itself up in .venv and starts at once when that is done.
PYTHON ?= python3
BIN := .venv/bin
SERVER := .venv/.server-installed
DEV := .venv/.dev-installed
REFERENCES := .venv/.references-installed
PEERS := .venv/.peers-installed
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c .ci/constraints.txt
PROTO := gemwire/v1/embedding.proto
# Contracts of other servers: messages alone, the front makes its handlers of the descriptors.
COMPAT := $(patsubst proto/%,%,$(wildcard proto/gemwire_compat/*.proto))
PROTOC = PATH=$(CURDIR)/$(BIN):$$PATH $(BIN)/python -m grpc_tools.protoc -Iproto -Ithird_party

.PHONY: demo serve test clients soak lint stubs freeze docs format gpu gpu-wheels train

demo: $(SERVER)  ## start a server, rank the model card's documents, stop it: make demo [MODEL=DIR|ID]
	@$(BIN)/python clients/python/demo.py $(MODEL)

serve: $(SERVER)  ## a server in the foreground: make serve [MODEL=DIR|ID] [ARGS=--help]
	@$(BIN)/gemwire serve $(if $(MODEL),--model $(MODEL)) $(ARGS)

test: $(DEV) $(REFERENCES) $(PEERS)  ## every test
	@$(BIN)/python -m pytest $(ARGS)

CONFORMANCE = PYTHONPATH=clients/conformance:tests:proto:server:kernels:clients/python $(BIN)/python -m
LANGS ?=
REQUIRE ?=
clients: $(DEV)  ## build and test the clients in other languages: make clients [LANGS='go rust'] [REQUIRE=1]
	@$(CONFORMANCE) gemwire_conformance.clients $(if $(REQUIRE),--require) $(LANGS)

soak: $(DEV)  ## what is promised under faults and load, at full size: make soak [ARGS='--rows drain --scale 0.1']
	@PYTHONPATH=benchmarks $(BIN)/python benchmarks/soak.py $(ARGS)

lint: $(DEV)  ## style, types, import contracts, the API's own rules
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/buf lint
	$(BIN)/buf format --diff --exit-code
	$(BIN)/buf breaking proto --against proto/frozen.yaml

train: .venv/.train-installed  ## gemwire-mini anew, from Debian's and npm's packages: make train [ARGS=--help]
	@$(BIN)/python -m gemwire_training.train $(ARGS)

# The machine's own Python: one with a GPU may reach no registry.
GPU_PYTHON ?= python3
OUT ?=
gpu:  ## test and measure a GPU, in six minutes at most: make gpu [OUT=DIR] [ARGS='--only d,f'|--dry-run|--help]
	@PYTHONPATH=proto:server:kernels:clients/python:tests$${PYTHONPATH:+:$$PYTHONPATH} \
		$(GPU_PYTHON) benchmarks/gpu_run.py $(if $(OUT),--output $(OUT)) $(ARGS)

# What `gemwire serve` and `gemwire bench` import and a machine with PyTorch need not have.
WHEELS ?= .cache/wheels
GPU_PYTHON_VERSION ?= 3.12
gpu-wheels: | $(BIN)/python  ## packages for make gpu on a machine without network: ARGS='--packages .cache/wheels'
	@$(BIN)/python -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
		-c .ci/constraints.txt --dest $(WHEELS) --python-version $(GPU_PYTHON_VERSION) --implementation cp \
		$(foreach glibc,2_28 2_27 2_17,--platform manylinux_$(glibc)_x86_64) --platform manylinux2014_x86_64 \
		grpcio grpcio-status grpcio-health-checking grpcio-reflection googleapis-common-protos \
		hdrhistogram prometheus-client protobuf typing_extensions uvloop

stubs: $(DEV)  ## generate the stubs that are checked in: Python, Go, Rust
	$(PROTOC) --python_out=proto --pyi_out=proto --grpc_python_out=proto --mypy_grpc_out=proto $(PROTO)
	$(PROTOC) --python_out=proto --pyi_out=proto $(COMPAT)
	clients/go/stubs
	clients/rust/stubs

freeze: $(DEV)  ## at a release, write the API that later changes must not break, proto/frozen.yaml
	@$(BIN)/buf build proto --exclude-source-info --output proto/frozen.yaml

docs: $(SERVER)  ## write the page of the options, docs/configuration.md
	@$(BIN)/python -m gemwire_server.config.page > docs/configuration.md.new
	@mv docs/configuration.md.new docs/configuration.md

format: $(DEV)
	$(BIN)/ruff check --fix-only --quiet
	$(BIN)/ruff format --quiet
	$(BIN)/buf format --write

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "gemwire needs Python 3.11 or newer: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -m venv .venv || \
		{ rm -rf .venv; echo "no venv here: apt-get install python3-venv" >&2; exit 1; }

$(SERVER): pyproject.toml .ci/constraints.txt | $(BIN)/python
	@echo "installing gemwire and PyTorch into .venv (once, some minutes)" >&2
	@$(INSTALL) -e '.[server]'
	@touch $@

.venv/.train-installed: $(SERVER)
	@$(INSTALL) -e '.[train]'
	@touch $@

$(DEV): $(SERVER)
	@echo "installing what tests and lint need into .venv (once)" >&2
	@$(INSTALL) -e '.[dev]'
	@touch $@

# Older and newer sentence-transformers and transformers, each set in a folder that a test's process reads first.
$(REFERENCES): .ci/references.txt $(DEV)
	@echo "installing versions of the reference libraries into .venv/references (once)" >&2
	@rm -rf .venv/references
	@grep -v '^#' $< | while read -r name packages; do \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-compile \
			--target .venv/references/$$name $$packages || exit 1; \
	done
	@touch $@

# Clients of other servers, each set in a folder that a script of the tests reads instead of the venv's packages.
NO_PEERS := "not installed: without network, $(BIN)/python -m pytest runs all tests but those of other servers' clients"
$(PEERS): .ci/peer-clients.txt .ci/peer-constraints.txt $(DEV)
	@echo "installing clients of other servers into .venv/peers (once)" >&2
	@rm -rf .venv/peers
	@grep -v '^#' $< | while read -r name packages; do \
		$(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check --no-warn-conflicts --no-compile \
			-c .ci/peer-constraints.txt --target .venv/peers/$$name $$packages || exit 1; \
	done || { echo $(NO_PEERS) >&2; exit 1; }
	@! command -v npm >/dev/null || \
		npm install --loglevel error --no-fund --no-audit --no-save --prefix .venv/peers/npm openai@6.49.0 >/dev/null || \
		{ rm -rf .venv/peers/npm; echo $(NO_PEERS) >&2; exit 1; }
	@touch $@
