# Sourced by every script here: strict mode, the checkout's root as the working directory, cargo on PATH.
# Plain bash 3.2, so that macOS's own bash runs it.
# shellcheck shell=bash
set -euo pipefail

came_from=$PWD
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
name="scripts/$(basename "$0")"

# A fresh rustup changes PATH for the next login only.
if ! command -v cargo >/dev/null 2>&1; then
    PATH="${CARGO_HOME:-${HOME:-/}/.cargo}/bin:$PATH"
fi
# Cargo reads a relative CARGO_TARGET_DIR from the directory it runs in, and that is about to change.
case ${CARGO_TARGET_DIR:-/} in
    /*) ;;
    *) export CARGO_TARGET_DIR="$came_from/$CARGO_TARGET_DIR" ;;
esac
cd "$root"

if [ "${CI:-}" = true ]; then
    export CARGO_TERM_COLOR=never CARGO_TERM_PROGRESS_WHEN=never NO_COLOR=1
fi

say() { printf '%s\n' "$*"; }
warn() { printf '%s: %s\n' "$name" "$*" >&2; }
die() {
    warn "$*"
    exit 1
}

# Where cargo puts what it builds, whoever configured it.
target_directory() {
    cargo metadata --format-version 1 --no-deps | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p'
}

# The `rust-version` that the workspace promises.
rust_version() { sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml; }
