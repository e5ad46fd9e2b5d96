# The short way to everything. CMake does the work, in build/<preset>; `make help` explains.
.DEFAULT_GOAL := build
MAKEFLAGS += --no-print-directory
JOBS ?= $(shell nproc)
PREFIX ?= /usr/local
DESTDIR ?=
ARGS ?=
PRESETS := dev release asan tsan coverage fuzz

# CMake prints pages when all is well: shown only when it is not.
define configure_and_build
@cmake --preset $(1) --log-level=WARNING >build/$(1).log 2>&1 || { cat build/$(1).log; exit 1; }
@cmake --build --preset $(1) -j$(JOBS) $(2)
endef

.PHONY: setup build program $(PRESETS:%=build-%) demo run test check fault e2e asan tsan fuzz coverage \
        bench lint headers layers tidy format install clean distclean help

setup:
	@scripts/setup
	@mkdir -p build

build: build-dev

$(PRESETS:%=build-%): build-%: setup
	$(call configure_and_build,$*)

program: setup # as users get it: without the tests
	$(call configure_and_build,release,--target refold)

# --- see it -------------------------------------------------------------------------------------

demo: program
	@scripts/setup --demo
	@REFOLD=$(CURDIR)/build/release/refold scripts/demo $(ARGS)

run: program
	@exec build/release/refold serve $(ARGS)

# --- test it ------------------------------------------------------------------------------------

test: setup
	@scripts/test $(ARGS)

check: setup
	@scripts/test unit $(ARGS)

fault e2e asan tsan fuzz: setup
	@scripts/test $@ $(ARGS)

coverage: build-coverage
	@scripts/coverage build/coverage

bench: program
	$(call configure_and_build,release,--target bench_all)
	@REFOLD=$(CURDIR)/build/release/refold bench/run $(ARGS)

# --- keep it tidy -------------------------------------------------------------------------------

lint: build-dev
	@scripts/lint

headers layers: setup
	@scripts/lint $@

tidy: build-dev
	@scripts/lint tidy

format: setup
	@scripts/lint --fix format

# --- use it -------------------------------------------------------------------------------------

install: program
	@DESTDIR="$(DESTDIR)" cmake --install build/release --prefix "$(PREFIX)"

clean:
	rm -rf build

distclean: clean
	rm -rf .deps

help:
	@sed -n 's/^## \{0,1\}//p' $(firstword $(MAKEFILE_LIST))

## refold: make TARGET
##
## The first two
##   make demo      install what is missing, build, and show the whole idea on three million
##                  real events; leaves nothing running
##   make test      install what is missing, build, pass every test (under 10 minutes)
##
## While working
##   make           build for development                       -> build/dev/refold
##   make check     the unit tests only; under a minute
##   make lint      layers, headers, banned functions, format, scripts, exported symbols
##   make format    put all sources into the one format
##   make run       a server for your own use; ARGS='--data DIR --listen HOST:PORT'
##
## Harder tests
##   make e2e       the real program, over HTTP                  make fault   power cuts, kill -9
##   make asan      AddressSanitizer, leaks, UBSan               make tsan    ThreadSanitizer
##   make fuzz      FUZZ_SECONDS=20 for each target              make tidy    clang-tidy
##   make coverage  which lines no test runs
##   make bench     measure; writes bench/RESULTS.md
##   ARGS='-k TEXT' runs only the test programs whose name contains TEXT, ARGS=-v shows all output:
##                  make check ARGS='-k segment -v'
##
## Delivering
##   make install   DESTDIR= PREFIX=/usr/local                   -> bin/refold, lib/refold, share/refold
##   make clean     removes build/; make distclean also what scripts/setup fetched
##
## Variables: JOBS (default: all cores)
