# Every target sets up what it needs: a virtual environment in .venv, installed with pip.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEV := $(VENV)/.installed-dev
EXTRAS := tensorboard mlflow wandb huggingface torchjd imblearn onnx tables conformal cluster docs

.PHONY: demo test long fuzz release extras floor ceiling check lint types docs picture bench slow clean

$(BIN)/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 13) else f"tailgrad needs Python 3.11 to 3.13, this is {v[0]}.{v[1]}; set PYTHON=python3.12 or the like")'
	$(PYTHON) -m venv $(VENV)

$(STAMP): $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(DEV): $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(STAMP)  ## baseline and CSBA on long-tailed digits, two seeds, with a report
	$(BIN)/tailgrad audit digits-lt
	$(BIN)/tailgrad compare digits-lt --methods baseline,csba --seeds 2 --out demo/study --resume
	$(BIN)/tailgrad diagnose demo/study/runs/digits-lt.digits.csba.split0.seed0
	$(BIN)/tailgrad table demo/study

# Pages that are run, and tests that start processes or a browser, are not waited for at every change.
PAGES = tests/docs tests/test_examples.py
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto --dist worksteal

test: $(DEV)  ## tests and doctests
	$(PYTEST) -m "not slow and not long" $(PAGES:%=--ignore %)

long: $(DEV)  ## tests that start processes or a browser
	$(PYTEST) -m "long and not slow" tests

check: lint types test long docs  ## everything CI runs

lint: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(DEV)
	$(BIN)/mypy

docs: $(DEV)  ## every example of the documentation, and its site, strict, in site/
	$(PYTEST) $(PAGES)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

picture: demo  ## the picture of the README, from the demo's report (needs Chromium)
	$(BIN)/python docs/picture.py demo/study/report.html docs/images/report-digits.png --rows 0-945 1620-2285

bench: $(DEV)  ## speed ratios; writes results/
	$(BIN)/python benchmarks/training.py resnet32-trial resnet32-epoch tripath-224
	$(BIN)/python benchmarks/augment.py
	$(BIN)/python benchmarks/jobs.py
	$(BIN)/python benchmarks/heads.py --rounds 41
	$(BIN)/python benchmarks/interference.py cost-10 masked-10 torchjd monitor --images 0.2

slow: $(DEV)  ## tests of minutes
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -m slow

fuzz: $(DEV)  ## ten minutes of processor time for every reader of files
	OMP_NUM_THREADS=1 $(BIN)/python tests/fuzz/run.py all --minutes 10

release: $(DEV)  ## wheel and sdist in dist/, the wheel tried in an environment with core dependencies only, .venv-release
	rm -rf dist .venv-release
	$(BIN)/python -m build --outdir dist
	$(PYTHON) -m venv .venv-release
	.venv-release/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt dist/*.whl
	cd dist && ../.venv-release/bin/python ../tests/try_release.py

extras: release  ## every extra alone, in an environment of its own, .venv-extra: what it is for is used once
	grep "^torch" constraints.txt > dist/torch.txt
	for extra in $(or $(EXTRA),$(EXTRAS)); do \
		echo "== $$extra"; rm -rf .venv-extra; $(PYTHON) -m venv .venv-extra && \
		.venv-extra/bin/python -m pip install --quiet --disable-pip-version-check -c dist/torch.txt \
			"$$(ls dist/*.whl)[$$extra]" && \
		(cd dist && ../.venv-extra/bin/python ../tests/try_extra.py $$extra) || exit 1; \
	done; rm -rf .venv-extra

floor:  ## fast tests with the lowest versions that pyproject.toml allows, in .venv-floor
	$(PYTHON) -m venv .venv-floor
	.venv-floor/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-lowest.txt \
		-e '.[conformal,huggingface,imblearn,onnx,tables,tensorboard,torchjd]' pytest pytest-xdist hypothesis pandas statsmodels \
		pytorch-metric-learning curvlinops-for-pytorch cvxpy clarabel qpsolvers quadprog
	OMP_NUM_THREADS=1 .venv-floor/bin/python -m pytest -q -n auto --dist worksteal --ignore tests/docs

ceiling:  ## fast tests with the newest versions there are, in .venv-ceiling
	$(PYTHON) -m venv .venv-ceiling
	.venv-ceiling/bin/python -m pip install --quiet --disable-pip-version-check --upgrade -e '.[dev]'
	OMP_NUM_THREADS=1 .venv-ceiling/bin/python -m pytest -q -n auto --dist worksteal

clean:
	rm -rf build dist site demo .venv-release .venv-extra .venv-floor .venv-ceiling .pytest_cache .mypy_cache .ruff_cache .hypothesis
