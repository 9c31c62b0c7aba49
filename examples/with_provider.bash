# Sourced first by the tests of examples: runs the rest of the test with a pretend provider, so that
# OPENAI_BASE_URL is set. Arguments are the provider's.
#
#     . examples/with_provider.bash --first 5 --each 1
if [ -z "${PRETENDING:-}" ]; then
    PRETENDING=1 exec "${EXAMPLE%/*}/pretend_provider" "$@" bash -eu "$0"
fi

fail() {
    printf 'failed: %s\n' "$*" >&2
    exit 1
}
# says TEXT WORDS...: the text contains the words.
says() { [[ $1 == *"$2"* ]] || fail "expected «$2» in:"$'\n'"$1"; }
# counts NAME: what the provider has seen: requests, connections, in_flight_max, departures.
counts() {
    local host=${OPENAI_BASE_URL#http://} answer
    host=${host%/v1}
    exec 3<>"/dev/tcp/${host%:*}/${host#*:}"
    printf 'GET /counts HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n' "$host" >&3
    answer=$(cat <&3)
    exec 3>&-
    [[ $answer =~ \"$1\":([0-9]+) ]] && echo "${BASH_REMATCH[1]}"
}
# soon COMMAND...: waits until the command succeeds, at most ten seconds.
soon() {
    local tries
    for ((tries = 0; tries < 200; tries++)); do
        if "$@"; then return; fi
        sleep 0.05
    done
    fail "in ten seconds never: $*"
}
