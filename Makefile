# Every target sets up what it needs (scripts/setup.sh) and then calls one command, printed as it runs.
CONFIG ?= examples/digits/digits.toml
SIM    ?= verilator
BOARD  ?= ulx3s
PYTEST_ARGS ?= -n 2 --dist worksteal

BIN := .venv/bin
PINS := pyproject.toml requirements.lock scripts/setup.sh

.DEFAULT_GOAL := all
.PHONY: all test verilog sim waves report bench bench-digits bench-sbe bench-reuse bench-resources bench-boards bench-schedules bench-elstm bench-audio bench-sparse bench-chars2vec bench-accuracy bench-activations bench-models bench-predict bench-prune bench-explore fuzz lint fmax board-plans bitstream flash clean help

all: .venv/.setup-run ## Run the whole flow on CONFIG: load, quantise, plan, emit, simulate, report (the default)
	$(BIN)/lstm-hw run $(CONFIG)

test: .venv/.setup-test ## Run the test suite (PYTEST_ARGS="-n 2 --dist worksteal")
	$(BIN)/python -P -m pytest $(PYTEST_ARGS)

verilog: .venv/.setup-run ## Write the Verilog of CONFIG
	$(BIN)/lstm-hw generate $(CONFIG)

sim: .venv/.setup-run ## Simulate CONFIG under SIM=icarus or SIM=verilator
	$(BIN)/lstm-hw simulate $(CONFIG) --simulator $(SIM)

waves: .venv/.setup-run ## Simulate CONFIG and record waveforms; prints their path
	$(BIN)/lstm-hw simulate $(CONFIG) --waves

report: .venv/.setup-run ## Print resources, traffic and cycles of CONFIG
	$(BIN)/lstm-hw report $(CONFIG)

bench: .venv/.setup-train .venv/.setup-bench ## Print every published table with our figures beside it
	$(BIN)/python -P -m bench

bench-digits: .venv/.setup-run ## Print the figures of the digits example
	$(BIN)/python -P -m bench.digits

bench-sbe: .venv/.setup-run ## Run the published LRCN workload of SBE in Verilog and print both systems' figures
	$(BIN)/python -P -m bench.sbe
	$(BIN)/python -P -m bench.lanes

bench-reuse: .venv/.setup-run ## Count traffic, cycles and energy of every weight reuse schedule beside the published ones
	$(BIN)/python -P -m bench.reuse

bench-resources: .venv/.setup-run ## Print the resource estimate beside Yosys's counts for engines of many shapes
	$(BIN)/python -P -m bench.resources

bench-boards: .venv/.setup-run ## Count what large engines and the boards' designs take of their parts, and print their clocks
	$(BIN)/python -P -m bench.boards

bench-schedules: .venv/.setup-run ## Run the streamed example under every schedule that fits, in Verilog
	$(BIN)/python -P -m bench.schedules

bench-sparse: .venv/.setup-run ## Choose thresholds of two examples and print activity, cycles and bytes a step beside dense engines
	$(BIN)/python -P -m bench.sparse

bench-elstm: .venv/.setup-run ## Print the words of eSELL and the bit map of E-LSTM's layers, and volumes against sparsity
	$(BIN)/python -P -m bench.elstm

bench-audio: .venv/.setup-run ## Play the amplifier example in Verilog for 0.1 s and leave WAV files (WAV=recording.wav)
	$(BIN)/python -P -m bench.audio $(if $(WAV),--wav "$(WAV)")

bench-chars2vec: .venv/.setup-bench ## Run the trained Keras models of a public package with their weights in memory
	$(BIN)/python -P -m bench.chars2vec

fuzz: .venv/.setup-bench ## Read 20,000 mutated files of every format under limits of time and memory (FUZZ_ARGS="--seed 7 --cases 100000 --jobs 2")
	$(BIN)/python -P -m bench.fuzz $(FUZZ_ARGS)

bench-accuracy: .venv/.setup-train .venv/.setup-bench ## Print accuracy, errors, clipping and lost weights of all examples at weights of 16 to 4 bits
	$(BIN)/python -P -m bench.accuracy

bench-activations: .venv/.setup-run ## Print errors and costs of every activation unit, and the accuracy of the examples with each
	$(BIN)/python -P -m bench.activations

bench-models: .venv/.setup-bench ## Read the model files of MODELS=DIR, compare with their expected outputs, print errors and cycles
	$(BIN)/python -P -m bench.models $(if $(MODELS),--models "$(MODELS)")

bench-predict: .venv/.setup-train ## Print how many times torch's time the bit-true prediction takes
	$(BIN)/python -P -m bench.predict

bench-prune: .venv/.setup-train ## Prune the examples by every pattern: accuracy before and after fine-tuning, padding, imbalance
	$(BIN)/python -P -m bench.prune

bench-explore: .venv/.setup-run ## Find the best engines of the examples and of LRCN on three parts, beside those picked by hand
	$(BIN)/python -P -m bench.explore

lint: .venv/.setup-test ## Check the Python with ruff, the rooms with import-linter and the Verilog of CONFIG with Verilator -Wall
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports --no-cache
	$(BIN)/lstm-hw lint $(CONFIG)

fmax: .venv/.setup-run ## Place and route on an ECP5 and print the clock rate
	$(BIN)/python -P -m bench.fmax

board-plans: .venv/.setup-run ## Print what each board holds: lanes, buffers, expected rate
	$(BIN)/python -P -m boards

bitstream: .venv/.setup-run ## Build the bitstream of BOARD=ulx3s or ecpix5 with the open tools, of another board with Vivado, if it is on PATH
	$(BIN)/python -P -m boards.bitstream $(BOARD)

flash: .venv/.setup-boards ## Load the bitstream of BOARD=ulx3s into the FPGA that is connected
	$(BIN)/python -P -m boards.flash $(BOARD)

clean: ## Remove what was built (build/ and caches; .venv stays)
	rm -rf build .pytest_cache .hypothesis .ruff_cache
	find . -name .venv -prune -o -name __pycache__ -type d -exec rm -rf {} +

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-15s %s\n", $$1, $$2 }' Makefile

.venv/.setup-run: $(PINS)
	@scripts/setup.sh

.venv/.setup-test: $(PINS)
	@scripts/setup.sh test

.venv/.setup-train: $(PINS)
	@scripts/setup.sh train

.venv/.setup-bench: $(PINS)
	@scripts/setup.sh bench

.venv/.setup-boards: $(PINS)
	@scripts/setup.sh boards
