# Everything a developer does with this project. Needs make, Python 3.11 to 3.14 (with venv) and PyPI. PYTHON runs the
# set-up alone: where it is too old or too new for the dependencies, the set-up looks for another on the path.

PYTHON ?= python3
ARGS ?=
# Of tests side by side: those with services wait about as much as they compute.
JOBS ?= 3
BIN := .venv/bin

# A terminal's Ctrl-C reaches make too, which then ends as interrupted (130): it need not add that the recipe failed.
till_interrupted = trap 'interrupted=0' INT; $(1) || exit $${interrupted:-$$?}

.DEFAULT_GOAL := help
.PHONY: help demo test test-nightly testing-page pages docs dashboards coverage mutants check bench soak soak-worlds soak-transport dist smoke changelog-draft changelog \
	constraints audit-dependencies clean setup-demo setup-test setup-mutants setup-dev check-format check-lint check-types check-words check-imports \
	check-schemas check-docs check-docker check-shell check-workflows check-changes check-release

help: ## Show what there is to do
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-17s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: setup-demo ## Watch a small world being asked, or left in peace: no services, no Docker
	@$(call till_interrupted,$(BIN)/referral-stream demo $(ARGS))

# Tests start hundreds of processes: what these import is compiled once, also where the environment forbids it.
test test-nightly: export PYTHONDONTWRITEBYTECODE =

test: setup-test ## Run the tests; those that need Kafka or Redis say so when they cannot (ARGS="-k name" JOBS=1)
	@$(BIN)/pytest -q -n $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

test-nightly: setup-test ## Run the tests that take too long for every change, and examples nobody has seen before
	@TESTS_ANEW=1 $(BIN)/pytest -q -n $(JOBS) --dist loadfile --no-loadscope-reorder -m "nightly or hypothesis" $(ARGS)

check: check-format check-lint check-types check-words check-imports check-schemas check-docs check-docker check-shell check-workflows ## Formatting, lint, types, words, import rules, schemas, docs, Docker files

# Whose coverage has a floor, and the tests that have to reach it.
OF_THE_CORE := tests/core tests/fundamentals tests/golden tests/properties tests/replay
coverage: setup-test ## Run the tests of the core, and see that they reach as much of it as they did (the floor: pyproject.toml)
	@$(BIN)/pytest -q -n $(JOBS) --dist loadfile --no-loadscope-reorder --cov=referral_stream.core $(ARGS) $(OF_THE_CORE)

# Every page has its place, every link leads somewhere, every example can be read: or it fails.
SITE = $(BIN)/sphinx-build --quiet --fail-on-warning --keep-going --conf-dir docs --doctree-dir build/doctrees . build/site
docs: setup-dev ## Build the documentation as a site: build/site/docs/README.html
	@$(SITE) && echo "build/site/docs/README.html"

dashboards: setup-dev ## Write the Grafana dashboards anew (docs/grafana)
	@$(BIN)/python tools/dashboards.py

pages: setup-test ## Write what commands print into the pages that show it, and the picture of docs/concepts.md
	@$(BIN)/python tools/concepts_picture.py
	@$(BIN)/python -m tests.pages

testing-page: setup-test ## Write the tables of docs/testing.md anew from the tests' marks
	@$(BIN)/python -m tests.rules

mutants: setup-mutants ## Small changes to core modules that differ from main: does a test fail? (ARGS="--sample 20 FILE")
	@$(BIN)/python tools/mutants.py $(ARGS)

bench: setup-dev build/peers/installed ## Measure everything, on a real Kafka and Redis (ARGS="--quick core pipeline")
	@$(BIN)/python -m benchmarks $(ARGS)

soak: setup-test ## Twenty minutes of faults under load on real services, judged from outside (SECONDS=300 SEED=7 FAULTS=REDIS_SPLIT)
	@$(BIN)/python -m tests.chaos --seconds $(or $(SECONDS),1200) $(if $(SEED),--seed $(SEED)) $(if $(FAULTS),--faults $(FAULTS))

soak-worlds: setup-test ## 200,000 random worlds against the oracle, and merged from several ids (WORLDS=1000)
	@TESTS_WORLDS=$(or $(WORLDS),200000) $(BIN)/pytest -q -n auto --timeout 0 tests/properties/test_against_oracle.py \
		tests/properties/test_merged_worlds.py tests/properties/test_persons.py

soak-transport: setup-test ## Long torture of the transport alone (SECONDS=60)
	@TESTS_ANEW=1 TESTS_TORTURE_SECONDS=$(or $(SECONDS),300) $(BIN)/pytest -q --timeout 0 -m '' tests/integration/test_transport_torture.py

dist: setup-dev ## Build wheel and sdist into dist/, and a list of what they need (CycloneDX)
	@rm -rf dist && $(BIN)/hatchling build && $(BIN)/python tools/sbom.py dist

# From another folder, so that nothing is imported from the checkout.
smoke: dist ## Install the built wheel into an environment of its own, and play the demo with it
	@rm -rf build/smoke && $(BIN)/python -m venv build/smoke
	@$(BIN)/python tools/lock.py demo rocksdb triggers uvloop > build/smoke/locked.txt
	@build/smoke/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r build/smoke/locked.txt
	@build/smoke/bin/python -m pip install --quiet --disable-pip-version-check --no-index dist/*.whl
	@cd build/smoke && bin/referral-stream --version && rm -f policy.toml && bin/referral-stream policy init && bin/referral-stream policy check policy.toml >/dev/null \
		&& bin/referral-stream demo && test -s demo-output/asks.jsonl

changelog-draft: setup-dev ## Show what the changelog of the next release will say
	@$(BIN)/towncrier build --draft

changelog: setup-dev ## Move the fragments of changes.d/ into CHANGELOG.md, under the version of the package
	@$(BIN)/towncrier build --yes

check-changes: setup-dev ## See that a branch has a fragment for the changelog (BASE=main)
	@$(BIN)/towncrier check --compare-with $(or $(BASE),main)

check-release: ## See that tag, package and changelog name one version (TAG=v1.2.3)
	@$(PYTHON) tools/check_release.py $(TAG)

# What the image installs; what is only developed with is not audited.
PRODUCT := console oidc rocksdb triggers uvloop
UV := uv==0.13.9
constraints: ## Write constraints.txt anew from the ranges of pyproject.toml (ARGS=--keep: at the same versions)
	@rm -rf build/lock && $(PYTHON) -m venv build/lock
	@build/lock/bin/python -m pip install --quiet --disable-pip-version-check '$(UV)'
	@PATH="$$PWD/build/lock/bin:$$PATH" build/lock/bin/python tools/lock.py --write $(ARGS)

# Where neither the tool nor the list of holes can be reached, it says so: nothing was looked at.
audit-dependencies: ## Ask whether a known hole is in one of the locked packages (needs the network; not part of CI)
	@rm -rf build/audit && $(PYTHON) -m venv build/audit && $(PYTHON) tools/lock.py $(PRODUCT) > build/audit/locked.txt
	@build/audit/bin/python -m pip install --quiet --disable-pip-version-check 'pip-audit>=2.10,<3' \
		|| { echo "not audited: pip-audit cannot be installed here"; exit 0; }; \
	build/audit/bin/pip-audit --strict --require-hashes --disable-pip --progress-spinner off --output build/audit/found.txt \
		--requirement build/audit/locked.txt $(ARGS); audited=$$?; \
	if test -e build/audit/found.txt; then cat build/audit/found.txt; exit $$audited; \
	else echo "not audited: the list of known holes cannot be reached, or does not know one of the packages"; fi

clean: ## Remove everything that was made here
	@rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache *.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

setup-demo:
	@$(call till_interrupted,$(PYTHON) tools/bootstrap.py console demo)

setup-test:
	@$(call till_interrupted,$(PYTHON) tools/bootstrap.py console demo oidc rocksdb statistics test triggers uvloop)

setup-mutants:
	@$(call till_interrupted,$(PYTHON) tools/bootstrap.py console demo lint mutants oidc rocksdb test triggers uvloop)

# What benchmarks compare with, in an environment of its own: Quix Streams refuses versions that are pinned here.
build/peers/installed: pyproject.toml | setup-dev
	@$(BIN)/python -m venv build/peers
	@build/peers/bin/python -m pip install --quiet --disable-pip-version-check '.[bench]'
	@touch $@

setup-dev:
	@$(call till_interrupted,$(PYTHON) tools/bootstrap.py console demo docs lint oidc rocksdb statistics test triggers uvloop)

# A check prints one line when all is well, and everything it has to say when not.
quietly = out=$$($(2) 2>&1) && echo "ok  $(1)" || { printf '%s\n' "$$out" "FAILED: $(1)"; exit 1; }

check-format: setup-dev
	@$(call quietly,format,$(BIN)/ruff format --check .)

check-lint: setup-dev
	@$(call quietly,lint,$(BIN)/ruff check .)

check-types: setup-dev
	@$(call quietly,types,$(BIN)/mypy)

check-words: setup-dev
	@$(call quietly,words,$(BIN)/python tools/check_words.py)
	@$(call quietly,spelling,$(BIN)/codespell)

check-docs: setup-dev
	@$(call quietly,docs,$(SITE))
	@$(call quietly,dashboards,$(BIN)/python tools/dashboards.py --check)

check-imports: setup-dev
	@$(call quietly,imports,$(BIN)/lint-imports)

# The standards' own tools. AsyncAPI's parser runs on Node alone; where there is none, or no npm registry, it is not asked.
ASYNCAPI_PARSER := 3.6.3
ASYNCAPI_READY = test -d build/asyncapi/node_modules/@asyncapi/parser
check-schemas: setup-dev
	@$(call quietly,schemas are current,$(BIN)/referral-stream schemas check)
	@$(call quietly,JSON Schema 2020-12,$(BIN)/check-jsonschema --check-metaschema schemas/message.json \
		schemas/in/*.json schemas/out/*.json schemas/internal/*.json)
	@$(call quietly,examples,$(BIN)/check-jsonschema --schemafile schemas/message.json schemas/examples/*/*.valid.json)
	@if ! command -v npm >/dev/null; then echo "--  AsyncAPI: not checked, there is no Node here"; \
	elif ! $(ASYNCAPI_READY) && ! npm install --silent --no-audit --no-fund --no-save --fetch-retries 1 \
		--prefix build/asyncapi @asyncapi/parser@$(ASYNCAPI_PARSER) >/dev/null 2>&1; then \
		echo "--  AsyncAPI: not checked, npm could not install the parser"; \
	else cp tools/check_asyncapi.mjs build/asyncapi/ && \
		$(call quietly,AsyncAPI 3,node build/asyncapi/check_asyncapi.mjs schemas/asyncapi.json); fi

# No Docker engine is needed; where the compose plugin is installed it has its say too.
check-docker: setup-dev
	@$(call quietly,Dockerfile,$(BIN)/hadolint Dockerfile)
	@$(call quietly,docker-compose.yml,$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml)
	@if docker compose version >/dev/null 2>&1; then \
		$(call quietly,docker compose config,env REDIS_PASSWORD=any EMAIL_KEY=any docker compose config --quiet); fi

check-workflows: setup-dev
	@$(call quietly,workflows,$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml)
	@$(call quietly,update bot,$(BIN)/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml)
	@$(call quietly,pre-commit hooks,$(BIN)/pre-commit validate-config)
	@$(call quietly,changelog fragments,$(BIN)/towncrier build --draft)

check-shell: setup-dev
	@$(call quietly,shell,$(BIN)/shellcheck .ci/run)
