# What a newcomer needs: `make up`, `make test`, `make down`. `make help` lists the rest.
# Each target first brings the virtual environments up to date, which costs nothing when they are.

.PHONY: help up down status setup setup-dev test test-unit test-cloud lint format lock clean
.DEFAULT_GOAL := help

# PYTHON=/path/to/python3.12 chooses the interpreter; otherwise local/python.sh finds one.
export PYTHON
# `make up OPENSEARCH=1` starts an OpenSearch node too, `OPENSEARCH_URL=...` uses a running one; 0 is without again.
export OPENSEARCH OPENSEARCH_URL OPENSEARCH_HEAP

BOOTSTRAP = python="$$(sh local/python.sh)" && "$$python" local/bootstrap.py
BIN = .venv/bin

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1	\2/p' $(MAKEFILE_LIST) | expand -t 20

up: ## set everything up, deploy, host two models; leaves the local cloud running
	@$(BOOTSTRAP) && $(BIN)/lisa up

down: ## stop the local cloud and keep its data
	@if [ -x $(BIN)/lisa ]; then $(BIN)/lisa down; else echo "Nothing runs: LISA was never set up here."; fi

status: ## what runs
	@$(BOOTSTRAP) && $(BIN)/lisa status

setup: ## the virtual environments that running needs
	@$(BOOTSTRAP)

setup-dev: ## the virtual environments that testing needs
	@$(BOOTSTRAP) --dev

test: test-unit test-cloud ## set everything up and pass all tests

test-unit: setup-dev ## tests without network or local cloud
	@mkdir -p .test
	$(BIN)/python -m pytest -n 2 tests/unit --junitxml=.test/unit.xml

test-cloud: setup-dev ## integration and end-to-end tests on a local cloud of their own
	@mkdir -p .test
	$(BIN)/python -m pytest -n 0 tests/integration tests/e2e --junitxml=.test/cloud.xml

lint: setup-dev ## the static gates
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/cfn-lint
	AWS_DEFAULT_REGION=us-east-1 SAM_CLI_TELEMETRY=0 .venvs/sam/bin/sam validate --lint

format: setup-dev ## format the Python code
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

lock: setup ## resolve requirements/*.in again into the hash-locked requirements/*.txt
	@sh requirements/lock.sh

clean: down ## remove the environments and build results, keep the data
	rm -rf .venv .venvs .aws-sam .test
