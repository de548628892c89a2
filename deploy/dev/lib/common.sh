# shellcheck shell=bash
# What every script of the local stack shares: where things are, how to talk to the person, how to know a process as ours.
# Sourced, never run.

# shellcheck disable=SC2034 # read by the scripts that source this file
KANAL_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../.." && pwd -P)
STACK_DIR=$KANAL_ROOT/.stack
# Names the Erlang node and the data directory of last resort, so that two checkouts on one machine never meet.
STACK_HASH=$(printf '%s' "$STACK_DIR" | sha256sum | cut -c1-8)

say() { printf '%s\n' "$*" >&2; }
step() { printf '==> %s\n' "$*" >&2; }
warn() { printf 'warning: %s\n' "$*" >&2; }

# fail PART REASON WHAT_TO_DO: every failure names its part, says why, and says what the reader can do about it.
fail() {
    printf '\nFAILED: %s\n   why: %s\n    do: %s\n' "$1" "$2" "$3" >&2
    exit 1
}

# fail_with_log PART REASON WHAT_TO_DO LOGFILE
fail_with_log() {
    if [[ -s $4 ]]; then
        printf '\n--- the last lines of %s\n' "$4" >&2
        tail -n 20 "$4" | sed 's/^/  | /' >&2
    fi
    fail "$1" "$2" "$3"
}

# The stack belongs to whoever made it: servers started by another user could be neither stopped nor read.
ensure_stack_dir() {
    if [[ ! -d $STACK_DIR ]]; then
        mkdir -p "$STACK_DIR" || fail "the directory $STACK_DIR" "it cannot be made" "check who owns the checkout"
    fi
    if [[ ! -O $STACK_DIR ]]; then
        fail "the directory $STACK_DIR" "it belongs to $(stat -c %U "$STACK_DIR"), you are $(id -un)" \
            "run as that user, or remove it as that user with 'make clean-stack'"
    fi
    # Others may pass through (Postgres runs as another user when we are root) but not look around.
    chmod 711 "$STACK_DIR"
    mkdir -p "$STACK_DIR/logs" "$STACK_DIR/run" "$STACK_DIR/holders"
    chmod 700 "$STACK_DIR/logs" "$STACK_DIR/run" "$STACK_DIR/holders"
}

# One change at a time: `make test` and `make run` in two terminals must not both start a Postgres.
# Descriptor 9 holds the lock; everything that stays in the background is started with 9>&-.
lock_stack() {
    exec 9>"$STACK_DIR/lock"
    if ! flock -n 9; then
        say "    another stack command is at work here; waiting for it"
        flock -w 180 9 || fail "the stack's lock" "another stack command has held it for three minutes" \
            "see who it is with 'fuser $STACK_DIR/lock' or wait"
    fi
}

# pid_is_ours PIDFILE DIRECTORY: the process lives and works inside DIRECTORY. A number alone proves nothing: after a
# reboot it may be anybody's.
pid_is_ours() {
    local pid cwd
    [[ -r $1 ]] || return 1
    pid=$(<"$1")
    [[ $pid =~ ^[0-9]+$ ]] && kill -0 "$pid" 2>/dev/null || return 1
    cwd=$(readlink "/proc/$pid/cwd" 2>/dev/null) || return 1
    cwd=${cwd% (deleted)}
    [[ $cwd == "$2" || $cwd == "$2"/* ]]
}

# wait_gone PID SECONDS
wait_gone() {
    local end=$((SECONDS + $2))
    while kill -0 "$1" 2>/dev/null && [[ $(process_state "$1") != Z ]]; do
        ((SECONDS < end)) || return 1
        sleep 0.1
    done
}

process_state() { sed -n 's/^State:[[:space:]]*\(.\).*/\1/p' "/proc/$1/status" 2>/dev/null || true; }

# wait_for WHAT SECONDS PID COMMAND…: asks until COMMAND succeeds, shows that it is waiting, gives up early when the
# process is gone. Returns 1 for "did not answer in time", 2 for "it died".
wait_for() {
    local what=$1 limit=$2 pid=$3 begun=$SECONDS shown=0
    shift 3
    while ! "$@" 2>/dev/null; do
        if ! kill -0 "$pid" 2>/dev/null || [[ $(process_state "$pid") == Z ]]; then return 2; fi
        ((SECONDS - begun < limit)) || return 1
        if ((SECONDS - begun >= shown + 3)); then
            shown=$((SECONDS - begun))
            say "    waiting for $what (${shown}s of at most ${limit}s)"
        fi
        sleep 0.1
    done
}

# answers HOST PORT: something accepts a TCP connection there.
answers() { (exec 3<>"/dev/tcp/$1/$2") 2>/dev/null; }

# write_private FILE: standard input becomes FILE, readable by us alone, whole or not at all.
write_private() {
    local new
    new=$(mktemp "$1.XXXXXX")
    cat >"$new"
    chmod 600 "$new"
    mv -f "$new" "$1"
}

# quote VALUE: as a single-quoted word for any POSIX shell.
quote() { printf "'%s'" "${1//\'/\'\\\'\'}"; }

random_hex() { od -An -v -N "$1" -tx1 /dev/urandom | tr -d ' \n'; }
random_base64() { head -c "$1" /dev/urandom | base64 -w0; }

# elapsed MICROSECONDS_AT_START: "1.3s"
elapsed() {
    local ms=$(((${EPOCHREALTIME/[.,]/} - $1) / 1000))
    printf '%d.%ds' $((ms / 1000)) $((ms % 1000 / 100))
}

# foreground COMMAND…: runs it and waits, in a way that a signal interrupts at once (bash otherwise puts traps off until
# the command is done). in_group also gives it a process group of its own, so that its children can be stopped with it;
# that costs the terminal, which only sudo asks for.
FOREGROUND=''
FOREGROUND_GROUP=''
foreground() {
    local code=0
    "$@" 8>&- &
    FOREGROUND=$!
    wait "$FOREGROUND" || code=$?
    FOREGROUND=''
    return "$code"
}

in_group() {
    local code=0
    setsid "$@" 8>&- &
    FOREGROUND_GROUP=$!
    wait "$FOREGROUND_GROUP" || code=$?
    FOREGROUND_GROUP=''
    return "$code"
}

stop_foreground() {
    if [[ -n $FOREGROUND ]]; then
        kill -TERM "$FOREGROUND" 2>/dev/null || true
        wait_gone "$FOREGROUND" 5 || true
    fi
    if [[ -n $FOREGROUND_GROUP ]]; then
        kill -TERM -- "-$FOREGROUND_GROUP" 2>/dev/null || true
        wait_gone "$FOREGROUND_GROUP" 5 || kill -KILL -- "-$FOREGROUND_GROUP" 2>/dev/null || true
    fi
}
