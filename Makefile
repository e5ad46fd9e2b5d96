# The short way to everything; `make help` says what. CMake does the work, in build/<preset>.
.DEFAULT_GOAL := build
JOBS ?= $(shell nproc)
PREFIX ?= /usr/local

setup:
	@scripts/setup
build: build-dev
build-%: setup
	@cmake --preset $* --log-level=WARNING >/dev/null
	@cmake --build --preset $* -j$(JOBS)
.PHONY: setup build
