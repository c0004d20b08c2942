PYTHON ?= python3
BIN := .venv/bin
PACKAGES := millrace.py commands embodiments engine train benchmarks tests
# One job a core; the tests of Ray use what is left.
JOBS ?= 2
# What the tests of training need; one release, as any other may bring gigabytes of CUDA.
TORCH ?= torch==2.13.0

.PHONY: demo test test-gpu test-pins fuzz lint format judge clean

demo: .venv/installed
	$(BIN)/millrace convert examples/aloha out/aloha_gr1 --map aloha_to_gr1 --overwrite
	$(BIN)/millrace validate out/aloha_gr1
	@printf '\nout/aloha_gr1 is ready for GR00T. Next:\n'
	@printf '  your own data:  .venv/bin/millrace convert DATASET OUT --map aloha_to_gr1_rescaled\n'
	@printf '  finetune:       see out/aloha_gr1/README.md, "Train"\n'
	@printf '  all flags:      .venv/bin/millrace convert --help\n'

test: .venv/installed-dev
	$(BIN)/python -m pytest -n $(JOBS)

# What GR00T N1.6 pins, so that one environment serves both; needs Python 3.10.
PYTHON310 ?= python3.10
PINS := numpy==1.26.4 pandas==2.2.3 tyro==0.9.17 huggingface_hub==0.36.2
test-pins: .venv-av15.0.0/installed .venv-av16.1.0/installed
	.venv-av15.0.0/bin/python -m pytest -n $(JOBS)
	.venv-av16.1.0/bin/python -m pytest -n $(JOBS)

.venv-av%/installed: pyproject.toml
	$(PYTHON310) -m venv .venv-av$*
	.venv-av$*/bin/python -m pip install --quiet --upgrade pip
	.venv-av$*/bin/python -m pip install --quiet --editable '.[dev]' av==$* $(PINS)
	touch $@

# On a machine with an NVIDIA GPU, in an environment of its own: GR00T pins an older PyAV and torch.
test-gpu: .venv-gpu/installed
	.venv-gpu/bin/python -m pytest tests/test_gpu_*.py tests/test_doctor.py

.venv-gpu/installed: pyproject.toml
	$(PYTHON) -m venv .venv-gpu
	.venv-gpu/bin/python -m pip install --quiet --upgrade pip
	.venv-gpu/bin/python -m pip install --quiet --editable '.[dev,gpu]'
	touch $@

# Mutants of small datasets; of these `make test` tries some thousands.
COUNT ?= 50000
SEED ?= 0
fuzz: .venv/installed-dev
	cd tests && ../$(BIN)/python -m fuzzing --count $(COUNT) --seed $(SEED)

lint: .venv/installed-dev
	$(BIN)/ruff check $(PACKAGES)
	$(BIN)/ruff format --check $(PACKAGES)
	$(BIN)/mypy

format: .venv/installed-dev
	$(BIN)/ruff check --fix $(PACKAGES)
	$(BIN)/ruff format $(PACKAGES)

# What LeRobot 0.3.3 was released with; its own bounds are open.
JUDGE_PINS := 'av<16' 'datasets<=3.6' 'huggingface_hub<0.35' 'numpy<2.3' 'torch==2.7.1' 'torchcodec<0.6' 'torchvision<0.23'
# LeRobot's own loader reads what we wrote, in an environment of its own (it wants an older torch).
DATASET ?= out/aloha_gr1
judge: .venv-judge/installed
	.venv-judge/bin/python tests/judge/lerobot_judge.py $(DATASET)

.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

.venv/installed-dev: .venv/installed
	$(BIN)/python -m pip install --quiet --editable '.[dev,bench,train]' $(TORCH)
	touch $@

.venv-judge/installed:
	$(PYTHON) -m venv .venv-judge
	.venv-judge/bin/python -m pip install --quiet --upgrade pip
	.venv-judge/bin/python -m pip install --quiet lerobot==0.3.3 $(JUDGE_PINS)
	touch $@

clean:
	rm -rf .venv .venv-* out build *.egg-info
