# A thin front: meson and ninja do the work.  `make help` lists what there is.
BUILD ?= build
RUN ?= "What is the capital of France?"
MESON_FLAGS ?=
SECONDS_EACH ?= 600

all: $(BUILD)/build.ninja  ## build the program, the library and the guests
	@ninja -C $(BUILD)

$(BUILD)/build.ninja:
	@scripts/setup
	@meson setup $(BUILD) $(MESON_FLAGS) >/dev/null

run: all  ## answer RUN="a prompt" with the model that comes along, through the default guest
	@$(BUILD)/realm run --guest $(BUILD)/guests/default.wasm $(RUN)

# What --test installs decides what there is to build, so meson looks again.
test: $(BUILD)/build.ninja  ## every test but the long ones; ends with "N passed, N failed"
	@scripts/setup --test
	@meson setup --reconfigure $(BUILD) >/dev/null
	@ninja -C $(BUILD)
	@tools/run_tests $(BUILD)

e2e: all  ## real guests in real sandboxes at full counts, and real clients of the server
	@scripts/setup --test
	@REALM_E2E_FULL=1 tools/run_tests $(BUILD) e2e api

bench: all  ## figures with median and spread: requests, guests, kernels, tokens
	@bench/run $(BUILD)

bench-compare: all  ## Realm beside llama.cpp, kept in bench/results
	@scripts/setup --peer
	@bench/compare $(BUILD)

bench-server: all  ## the server beside the engine that is in it, and under load
	@bench/server $(BUILD)

bench-tenants: all  ## what tenants cost each other
	@bench/tenants $(BUILD)

tidy:  ## style, layers, lengths
	@tools/tidy

ASAN = -Db_sanitize=address,undefined -Db_lundef=false -Ddeps=shared

asan:  ## the tests under AddressSanitizer and UndefinedBehaviorSanitizer
	@$(MAKE) --no-print-directory test BUILD=build-asan MESON_FLAGS="$(ASAN)"

asan-parsers:  ## the same for what reads files, texts and requests alone, as CI does
	@$(MAKE) --no-print-directory build-asan/build.ninja BUILD=build-asan MESON_FLAGS="$(ASAN)"
	@tools/run_tests --build build-asan parsers

tsan:  ## the tests of what threads share under ThreadSanitizer
	@$(MAKE) --no-print-directory all BUILD=build-tsan \
	    MESON_FLAGS="-Db_sanitize=thread -Db_lundef=false -Ddeps=shared"
	@TSAN_OPTIONS=ignore_noninstrumented_modules=1 tools/run_tests build-tsan threads

fuzz:  ## each fuzz target for SECONDS_EACH seconds, with coverage
	@fuzz/run $(SECONDS_EACH)

install: all  ## install under the prefix given to meson (default /usr/local)
	@meson install -C $(BUILD)

clean:  ## remove what was built here
	@rm -rf $(BUILD) build-asan build-tsan build-fuzz build-fuzz-cover

help:  ## this list
	@sed -n 's/^\([a-z0-9-]*\):.*##  *\(.*\)/  make \1|\2/p' Makefile | column -t -s '|'

.PHONY: all run test e2e bench bench-compare bench-server bench-tenants tidy asan asan-parsers tsan \
    fuzz install clean help
