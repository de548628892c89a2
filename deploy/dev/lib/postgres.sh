# shellcheck shell=bash
# The private Postgres: its own data directory, its own port on 127.0.0.1, no socket, scram for everybody.

PG_LINK=$STACK_DIR/pg
PG_PIDFILE=$STACK_DIR/run/postgres.pid
PG_LOG=$STACK_DIR/logs/postgres.log
PG_SUPERUSER=kanal_admin
# Where the data goes when the checkout is somewhere the postgres user cannot reach (/root, say).
PG_ELSEWHERE=/var/tmp/kanal-stack-$STACK_HASH

# Postgres refuses to run as root, so then its programs run as the user that its package made.
as_postgres() {
    if ((EUID == 0)); then
        (cd / && exec setpriv --reuid postgres --regid postgres --init-groups --reset-env "$@")
    else
        (cd / && exec "$@")
    fi
}

pg_home() { readlink -f "$PG_LINK"; }

pg_running() { [[ -e $PG_LINK ]] && pid_is_ours "$PG_PIDFILE" "$(pg_home)"; }

pg_make_home() {
    if [[ -L $PG_LINK && ! -e $PG_LINK ]]; then
        fail "Postgres" "its data was in $(readlink "$PG_LINK"), which is gone" "make clean-stack, then run again"
    fi
    [[ ! -e $PG_LINK ]] || return 0
    if ((EUID != 0)); then
        mkdir -m 700 "$PG_LINK"
    elif as_postgres test -x "$STACK_DIR"; then
        mkdir -m 700 "$PG_LINK"
        chown postgres:postgres "$PG_LINK"
    else
        # /var/tmp belongs to everybody: a directory that somebody else prepared under this name is not ours to use.
        mkdir -m 711 "$PG_ELSEWHERE" 2>/dev/null || [[ -O $PG_ELSEWHERE && ! -L $PG_ELSEWHERE ]] ||
            fail "Postgres" "$PG_ELSEWHERE exists and is not ours" "look at it, and remove it if it is nobody's"
        pg_remove_orphan
        mkdir -m 700 "$PG_ELSEWHERE/pg"
        chown postgres:postgres "$PG_ELSEWHERE/pg"
        ln -s "$PG_ELSEWHERE/pg" "$PG_LINK"
        say "    the user postgres cannot reach this checkout; its data is in $PG_ELSEWHERE"
    fi
}

# A checkout that was here before and was deleted without `make clean-stack` has left its data, and with its secrets the
# way into it is gone. Its server may still be running.
pg_remove_orphan() {
    local old=$PG_ELSEWHERE/pg pid
    [[ -e $old || -L $old ]] || return 0
    [[ ! -L $old ]] || fail "Postgres" "$old is a link and not ours" "look at it, and remove it if it is nobody's"
    # shellcheck disable=SC2013 # a process' number has no blanks
    for pid in $(sed -n 1p "$old"/*/postmaster.pid "$old"/postmaster.pid 2>/dev/null); do
        if [[ $(readlink "/proc/$pid/cwd" 2>/dev/null) == "$old"* ]]; then
            say "    stopping the Postgres of a checkout that was here before (pid $pid)"
            kill -INT "$pid" 2>/dev/null || true
            wait_gone "$pid" 10 || fail "Postgres" "process $pid of an earlier checkout does not end" "stop it, then run again"
        fi
    done
    say "    removing the data of a checkout that was here before"
    rm -rf "$old"
}

pg_initdb() {
    local home=$1 bin=$2 begun=${EPOCHREALTIME/[.,]/}
    say "    creating the database cluster"
    # Built beside and moved into place, so that an interrupted attempt leaves nothing that looks finished.
    rm -rf "$home/new" "$home/password"
    (umask 077 && printf '%s\n' "$PG_PASSWORD" >"$home/password")
    ((EUID != 0)) || chown postgres:postgres "$home/password"
    if ! as_postgres "$bin/initdb" --pgdata="$home/new" --username="$PG_SUPERUSER" --pwfile="$home/password" \
        --auth=scram-sha-256 --encoding=UTF8 --locale=C.UTF-8 --no-instructions >"$PG_LOG" 2>&1; then
        rm -rf "$home/new" "$home/password"
        fail_with_log "Postgres" "initdb failed" "read the lines above; a full disk is the usual reason" "$PG_LOG"
    fi
    rm -f "$home/password"
    cat >>"$home/new/postgresql.conf" <<-'CONF'

		# Kanal's local stack. Durability stays on: what a test sees here must be what a crash would leave.
		listen_addresses = '127.0.0.1'
		unix_socket_directories = ''
		fsync = on
		synchronous_commit = on
		max_connections = 300
		shared_buffers = 256MB
		jit = off
		timezone = 'UTC'
		log_timezone = 'UTC'
		log_line_prefix = '%m [%p] %q%u@%d '
		log_lock_waits = on
	CONF
    mv "$home/new" "$home/data"
    say "    cluster created in $(elapsed "$begun")"
}

pg_sql() {
    PGPASSWORD=$PG_PASSWORD PGCONNECT_TIMEOUT=5 "$(dirname "$(readlink -f "/proc/$(<"$PG_PIDFILE")/exe")")/psql" -X -q -A -t \
        -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "$(recorded_port POSTGRES)" -U "$PG_SUPERUSER" -d "$1" -c "$2"
}

pg_start() {
    local begun=${EPOCHREALTIME/[.,]/} home bin version='' port pid code
    if pg_running; then
        say "    Postgres is running (port $(recorded_port POSTGRES))"
        return
    fi
    step "starting Postgres"
    pg_make_home
    home=$(pg_home)
    [[ ! -f $home/data/PG_VERSION ]] || version=$(<"$home/data/PG_VERSION")
    bin=$(postgres_bin "$version") || fail "Postgres" "the data was written by version $version, which is not installed" \
        "apt-get install postgresql-$version, or start afresh with 'make clean-stack'"
    [[ -n $version ]] || pg_initdb "$home" "$bin"

    port=$(choose_port POSTGRES)
    # setpriv becomes the server (no process in between), so this is its process id.
    (
        cd "$home" || exit
        if ((EUID == 0)); then
            exec setsid setpriv --reuid postgres --regid postgres --init-groups --reset-env \
                "$bin/postgres" -D "$home/data" -p "$port"
        fi
        exec setsid "$bin/postgres" -D "$home/data" -p "$port"
    ) >>"$PG_LOG" 2>&1 </dev/null 9>&- &
    pid=$!
    printf '%s\n' "$pid" >"$PG_PIDFILE"

    code=0
    wait_for Postgres 60 "$pid" "$bin/pg_isready" -q -h 127.0.0.1 -p "$port" || code=$?
    case $code in
        1) fail_with_log "Postgres" "no answer on port $port after 60 s" "read its log: $PG_LOG" "$PG_LOG" ;;
        2) fail_with_log "Postgres" "it stopped while starting" "read its log: $PG_LOG; 'make clean-stack' starts afresh" "$PG_LOG" ;;
    esac
    if ! pg_sql postgres 'SELECT 1' >/dev/null; then
        fail "Postgres" "it runs but refuses the password in .stack/secrets" "'make clean-stack' starts afresh"
    fi
    if [[ -z $(pg_sql postgres "SELECT 1 FROM pg_database WHERE datname = 'kanal'") ]]; then
        pg_sql postgres 'CREATE DATABASE kanal'
    fi
    say "    Postgres answers on 127.0.0.1:$port after $(elapsed "$begun")"
}

# Asks, does not wait. INT is Postgres' "fast" stop: connections are cut, everything committed is on disk.
pg_ask_stop() { ! pg_running || kill -INT "$(<"$PG_PIDFILE")"; }

pg_await_stop() {
    if pg_running; then
        wait_gone "$(<"$PG_PIDFILE")" 10 || {
            warn "Postgres did not stop within 10 s; killing it (it recovers from its log)"
            # The postmaster's children notice its death and leave by themselves.
            kill -KILL "$(<"$PG_PIDFILE")" 2>/dev/null || true
        }
    fi
    rm -f "$PG_PIDFILE"
}

pg_clean() {
    if [[ -L $PG_LINK && $(readlink "$PG_LINK") == "$PG_ELSEWHERE/pg" && -O $PG_ELSEWHERE ]]; then
        rm -rf "$PG_ELSEWHERE"
    fi
}
