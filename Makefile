# make run | test | fuzz | conformance | bench | lint | doc

.PHONY: run test fuzz conformance bench lint doc tools

# That of the tests.
PROFILE ?= dev

# What runs once, checked: tests of many dispatches, whose kernels are in the sample; and what no check in a shader changes.
ONCE = --skip "run of two tasks" --skip statistics --skip autograd --skip optimizer --skip house: --skip "[cpu]" --skip "[f64 twins]"

# The default run on the embedded icons.
run: tools
	cargo run --release -- run

# Every test; GPU tests use the devices there are (on Debian, mesa-vulkan-drivers brings a software one). The kernels run
# with all checks in the shaders, and a sample of their cases once more unchecked as in release.
test: tools
	cargo test --profile $(PROFILE)
	MINOISE_CHECKED=0 MINOISE_TEST_CASES=12 cargo test --profile $(PROFILE) --test kernels -- $(ONCE)

# A hundred times as many damaged files as in `make test`, with the checks of arithmetic that this profile has.
fuzz: tools
	MINOISE_FUZZ_CASES=10000000 cargo test --test readers

# The kernels on every software GPU, and by every compiler of a real one, that Debian's packages bring: docs/conformance.md.
conformance: tools
	scripts/conformance

# Every bench, on the device that MINOISE_DEVICE names; each ends with a table. The largest analytic heads need 6 GiB.
bench: tools
	cargo bench
	cargo bench --bench analytic -- "m8192|m16384"

lint: tools
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings

doc: tools
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps

# What cargo itself needs.
tools:
	@command -v cargo >/dev/null || { echo "cargo is missing: install Rust from https://rustup.rs (1.95 or newer)" >&2; exit 1; }
	@command -v cc >/dev/null || { echo "no C toolchain to link with: on Debian, apt-get install build-essential" >&2; exit 1; }
