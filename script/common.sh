# What the scripts share. Sourced, not run.
set -eu
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# say TEXT: a step, on standard error, so that output stays for results.
say() { printf '== %s\n' "$*" >&2; }
fail() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; exit 1; }

# usage: the comment at the head of the script.
usage() { sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; exit "${1:-0}"; }

# jobs: one a core, but no more than memory allows; a file with deep coroutine stacks takes 1.5 GB.
jobs_here() {
    local cores memory
    cores=$(nproc)
    memory=$(awk '/^MemAvailable:/ { print int($2 / 1500000) }' /proc/meminfo 2>/dev/null || echo 1)
    [ "$memory" -ge 1 ] || memory=1
    echo $((cores < memory ? cores : memory))
}

# configure PRESET [cmake arguments]: quietly, unless it fails.
configure() {
    local preset=$1 log
    shift
    log=build/$preset.configure.log
    mkdir -p build
    say "configure $preset"
    if ! cmake --preset "$preset" "$@" >"$log" 2>&1; then
        cat "$log" >&2
        fail "configuring failed; the messages above say why"
    fi
    grep -E '^-- llmkit:|Warning' "$log" >&2 || true
}

# build PRESET [cmake --build arguments]
build() {
    local preset=$1
    shift
    say "build $preset"
    cmake --build --preset "$preset" --parallel "${LLMKIT_JOBS:-$(jobs_here)}" "$@" >&2
}
