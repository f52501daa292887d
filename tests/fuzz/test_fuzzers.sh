#!/bin/sh
# Every libFuzzer target for FUZZ_TIME seconds (60): a case each.
cd "$(dirname "$0")/../.." || exit 1
exec scripts/run-fuzz build/fuzz "${FUZZ_TIME:-60}"
