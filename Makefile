# `make` prints this help. Everything runs from a fresh clone: Python 3.11 or later, Node 22 or later (20 works), make.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
CDK    := node_modules/.bin/cdk

# The tests of moves and rollbacks, whose order rests on CloudFormation's.
MOVES  := $(addprefix tests/local_cloud/,serving/test_guardrail.py serving/test_moves.py serving/test_real_fleet.py \
            services/cloudformation/test_order.py services/stacks/test_cancel.py)

# jsii prints a banner on Node 20 (end of life); the value is the major version it should keep quiet about.
export JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION = 18,20
export CDK_DISABLE_CLI_TELEMETRY = true
# Or each process that a test starts compiles the package again, which is a third of its start.
unexport PYTHONDONTWRITEBYTECODE
export PATH := $(CURDIR)/$(BIN):$(PATH)

PIP := $(BIN)/python -m pip install --disable-pip-version-check --progress-bar off
# A line as each long step begins; pip then names each package that it takes.
step = printf '\033[1m==> %s\033[0m\n' '$(1)'

.DEFAULT_GOAL := help
.PHONY: help install demo test test-long test-boto3-next test-early-start test-xgboost-versions test-five-models lint types check synth diff snapshot-update schema \
        picture bench audit bench-cache bench-chaos bench-moves bench-neighbours bench-planner bench-planner-truth planning-tables bench-server bench-warm-up bench-backfill \
        bench-forest bench-forest-density bench-forest-fleet boto3-next exactness-forest fuzz fuzz-forest image limits mixes sbom security clean

help:  ## Show this help
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  \033[1m%-16s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Built into the package by pip install -e, where there is a C compiler.
FOREST := $(wildcard container/tierfleet_forest/*.[ch])

$(VENV)/.installed: requirements.txt requirements-container.txt requirements-local.txt requirements-planning.txt \
                   requirements-dev.txt constraints.txt pyproject.toml $(FOREST)
	@$(call step,Python packages into $(VENV): a minute or two)
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) -r requirements-dev.txt -r requirements-local.txt -e '.[cli]' -c constraints.txt
	@touch $@ $(VENV)/.demo-installed

# What make demo needs: no linters, type checker, test runner or planner.
$(VENV)/.demo-installed: requirements.txt requirements-container.txt requirements-local.txt constraints.txt pyproject.toml \
                        $(FOREST)
	@$(call step,Python packages of the demo into $(VENV): a minute or so)
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) -r requirements-local.txt -e '.[cli]' -c constraints.txt
	@touch $@

node_modules/.package-lock.json: package.json package-lock.json
	@$(call step,the CDK CLI into node_modules)
	@npm ci --silent --no-audit --no-fund
	@touch $@

examples/node/node_modules/.package-lock.json: examples/node/package.json examples/node/package-lock.json
	@$(call step,the AWS SDK of the Node example into examples/node)
	@npm ci --prefix examples/node --silent --no-audit --no-fund
	@touch $@

install: $(VENV)/.installed node_modules/.package-lock.json examples/node/node_modules/.package-lock.json  ## Install Python packages into .venv and the pinned CDK CLI

demo: $(VENV)/.demo-installed node_modules/.package-lock.json  ## Check the example fleets, serve one on loopback, move a merchant under traffic (no AWS account)
	$(BIN)/python tools/demo.py

test: install  ## Run every test, two files at a time
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

lint: install  ## Check style, formatting and which package imports which
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo --no-cache

types: install  ## Check types (mypy, strict)
	$(BIN)/mypy

check: lint types test  ## What CI runs: lint, types, tests

synth: install  ## Synthesise every fleet with the CDK CLI, validation as errors, twice; no credentials needed
	$(BIN)/python tools/synth.py

diff: install  ## Compare with what is deployed (cdk diff; needs credentials)
	$(CDK) diff '*/**'

snapshot-update: install  ## Rewrite tests/snapshots from the fleet files; then read their diff
	$(BIN)/pytest tests/test_snapshots.py --update-snapshots

schema: install  ## Rewrite config/fleet.schema.json and the reference in docs/configuration.md
	$(BIN)/tierfleet config schema > config/fleet.schema.json
	$(BIN)/python tools/reference.py
	$(BIN)/python tools/create_only.py

picture: install  ## Draw docs/first-hour.svg again: a fleet served, called and edited
	$(BIN)/python tools/demo_picture.py

fuzz: install  ## Hostile models, archives, payloads, HTTP, replies and fleet files for 10 minutes (SECONDS=600 SEED=1)
	PYTHONPATH=tests/support $(BIN)/python -m tests.fuzz --seconds $(or $(SECONDS),600) $(if $(SEED),--seed $(SEED))

limits: install  ## Walk the templates of 200 random fleets with the table of AWS limits (FLEETS=200 SEED=1; 10 minutes)
	$(BIN)/python -m tests.fuzz.random_fleets --fleets $(or $(FLEETS),200) --seed $(or $(SEED),1)

mixes: install  ## Check 300 random mixes of hosting shapes: templates that AWS takes, or every problem (MIXES=300 SEED=1; 5 minutes)
	PYTHONPATH=tests/support $(BIN)/python -m tests.fuzz.random_mixes --mixes $(or $(MIXES),300) --seed $(or $(SEED),1)

exactness-forest: install  ## Compare flat forests with XGBoost bit for bit: 300 models and more, 10 M rows, files of every version (30 minutes)
	$(BIN)/python -m tests.forest.long_run --versions all

bench-forest: install  ## Compare flat forests with XGBoost (PEERS=1: and treelite, ONNX Runtime, oneDAL, installed first)
	$(BIN)/python -m benchmarks.forest --markdown $(if $(PEERS),--peers)
	$(BIN)/python -m benchmarks.forest_server

fuzz-forest: install  ## Damaged flat forests against the compiled reader, under ASan and UBSan (SECONDS=600 SEED=1)
	$(BIN)/python -m tests.forest.fuzz_forest --seconds $(or $(SECONDS),600) $(if $(SEED),--seed $(SEED))

bench: install  ## Measure synthesis, the client and the local emulator (the model server: make bench-server)
	$(BIN)/python -m benchmarks.synth
	$(BIN)/python -m benchmarks.client
	$(BIN)/python -m benchmarks.emulator
	$(BIN)/python -m benchmarks.publishing

boto3-next: install
	test -x .build/boto3-next/bin/python || $(PYTHON) -m venv .build/boto3-next
	.build/boto3-next/bin/python -m pip install --quiet boto3==1.44.5 pytest==9.2.0 hypothesis==6.170.15 jsonschema==4.26.0

test-long: install  ## What make test leaves out: every hosting served and called, each move between two of them (8 minutes)
	$(BIN)/pytest tests/long

test-boto3-next: boto3-next  ## Run the client's and the warm-up's tests on the next boto3 line, whose retry defaults differ
	.build/boto3-next/bin/python -m pytest --confcutdir=tests/tierfleet/runtime -q tests/tierfleet/runtime

test-xgboost-versions: install  ## Package models of XGBoost 1.2 to 3.4 for every image and compare the scores (10 minutes)
	$(BIN)/python tests/xgboost_versions/compare.py

test-five-models: install  ## Run docs/five-models.md with what pip installs today (needs network; 400 MB on Linux)
	$(BIN)/pytest tests/local_cloud/test_pages_run.py -k five --pip

test-early-start: install  ## Run every move with CloudFormation's early start switched off, and on for updates too (5 minutes)
	$(BIN)/pytest -n 2 --dist loadfile --early-start off $(MOVES)
	$(BIN)/pytest -n 2 --dist loadfile --early-start always $(MOVES)

bench-moves: boto3-next  ## Move a fleet of real models under 200 requests/s: no call may fail, first calls are warm (28 minutes)
	$(BIN)/python -m benchmarks.first_calls
	$(BIN)/python -m benchmarks.tier_move --early-start always
	$(BIN)/python -m benchmarks.tier_move --early-start off

bench-chaos: install  ## Call 200,000 times through a proxy that harms replies; every call ends right, or in an error in time
	$(BIN)/python -m benchmarks.client_chaos

bench-backfill: install  ## Score 200,000 rows of one tenant while others call, killed half way and resumed (7 minutes)
	$(BIN)/python -m benchmarks.backfill

bench-warm-up: install  ## Measure the nightly warm-up of 500 real models
	$(BIN)/python -m benchmarks.warm_up

image:  ## Build the dense model server's image (needs Docker)
	docker build -t tierfleet-server container/

.build/supply-chain/.installed: requirements-supply-chain.txt
	test -x .build/supply-chain/bin/python || $(PYTHON) -m venv .build/supply-chain
	.build/supply-chain/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-supply-chain.txt
	touch $@

sbom: install .build/supply-chain/.installed  ## Write what the image and the app are made of to .build/sbom (CycloneDX)
	mkdir -p .build/sbom
	.build/supply-chain/bin/cyclonedx-py requirements --output-reproducible --mc-type container --pyproject pyproject.toml --output-file .build/sbom/image.cdx.json container/requirements.txt
	.build/supply-chain/bin/cyclonedx-py environment --output-reproducible --pyproject pyproject.toml --output-file .build/sbom/app.cdx.json $(BIN)/python
	npm sbom --sbom-format cyclonedx --package-lock-only > .build/sbom/cdk-cli.cdx.json
	npm sbom --prefix examples/node --sbom-format cyclonedx --package-lock-only > .build/sbom/example.cdx.json

audit: .build/supply-chain/.installed  ## Ask for known vulnerabilities of every pinned package (needs network)
	@# All four, whatever the first says.
	@failed=0; \
	run() { echo "$$*"; "$$@" || failed=1; }; \
	run .build/supply-chain/bin/pip-audit --strict --disable-pip --require-hashes --requirement container/requirements.txt; \
	run .build/supply-chain/bin/pip-audit --strict --disable-pip --no-deps --requirement constraints.txt; \
	run npm audit --audit-level=high; \
	run npm audit --prefix examples/node --audit-level=high; \
	exit $$failed

.build/security/.installed: requirements-security.txt
	test -x .build/security/bin/python || $(PYTHON) -m venv .build/security
	.build/security/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-security.txt
	touch $@

security: install .build/security/.installed  ## Parliament and Checkov on every fleet's templates; findings need a reason
	rm -rf .build/security/assembly
	CDK_VALIDATION=false $(BIN)/python tools/every_option.py .build/security/assembly
	.build/security/bin/python tools/security_scan.py .build/security/assembly

bench-planner: install  ## Compare the cache model with libCacheSim, and a trace of 100 M requests (minutes, 2 GB of disk)
	$(BIN)/python -m benchmarks.planner

bench-planner-truth: install  ## Compare plans with an independent simulation on twelve fleets, and three with real endpoints (5 minutes)
	$(BIN)/python -m benchmarks.planner_truth
	$(BIN)/python -m benchmarks.planner_truth --emulator

planning-tables: install  ## Compute the tables of docs/planning.md and docs/planning-model.md again (a minute)
	$(BIN)/python tools/planning_tables.py

bench-forest-fleet: install  ## 4,000 distinct models of 44 MB in one server, every tenant called, Zipf traffic (19 GiB of memory)
	$(BIN)/python -m benchmarks.forest_fleet

bench-forest-density: install  ## 400 tenants in 3 GiB: stock density, Boosters and flat forests side by side (10 minutes, 5 GiB of memory)
	$(BIN)/python -m benchmarks.forest_density

bench-cache: install  ## Hit ratios and call times of real endpoints compared with the planner (needs Java 17 for the stock stack)
	$(BIN)/python -m benchmarks.cache

bench-server: install  ## Measure the dense model server (needs wrk and Java 17)
	$(BIN)/python -m benchmarks.model_server

bench-neighbours: install  ## Measure small calls during other tenants' costliest requests and loads (needs Java 17)
	$(BIN)/python -m benchmarks.neighbours --markdown

clean:  ## Remove everything that was built or installed
	rm -rf $(VENV) node_modules examples/node/node_modules cdk.out .build .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
