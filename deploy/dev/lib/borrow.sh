# shellcheck shell=bash
# borrow_stack: the servers are up and .stack/env is in the environment until this script ends, however it ends.
# Needs common.sh. Arguments: what must be installed besides the servers and a C compiler, as in packages.sh.

borrow_stack() {
    trap return_stack EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    trap 'exit 129' HUP
    command -v cargo >/dev/null || fail "building" "there is no cargo in PATH" "install the Rust toolchain: https://rustup.rs"
    foreground "$KANAL_ROOT/deploy/dev/stack" acquire "$$" build "$@" || exit 1
    [[ ${KEEP_STACK:-0} != 1 ]] || : >"$STACK_DIR/keep"
    set -a
    # shellcheck source=/dev/null
    . "$STACK_DIR/env"
    set +a
}

return_stack() {
    local code=$?
    trap '' INT TERM HUP
    trap - EXIT
    stop_foreground
    "$KANAL_ROOT/deploy/dev/stack" release "$$" || true
    exit "$code"
}
