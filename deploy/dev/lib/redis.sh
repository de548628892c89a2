# shellcheck shell=bash
# The private Redis: memory only, behind a password, on 127.0.0.1.

REDIS_HOME=$STACK_DIR/redis
REDIS_PIDFILE=$STACK_DIR/run/redis.pid
REDIS_LOG=$STACK_DIR/logs/redis.log

redis_running() { pid_is_ours "$REDIS_PIDFILE" "$REDIS_HOME"; }

# redis_says_pong PORT: speaks the protocol itself, so that no client is needed and the password is in no argument list.
redis_says_pong() {
    local line fd
    exec {fd}<>"/dev/tcp/127.0.0.1/$1" || return 1
    printf 'AUTH %s\r\nPING\r\n' "$REDIS_PASSWORD" >&"$fd"
    read -r -t 2 line <&"$fd" && [[ $line == +OK* ]] && read -r -t 2 line <&"$fd" && [[ $line == +PONG* ]]
    local code=$?
    exec {fd}>&-
    return "$code"
}

redis_start() {
    local begun=${EPOCHREALTIME/[.,]/} port pid code version
    if redis_running; then
        say "    Redis is running (port $(recorded_port REDIS))"
        return
    fi
    step "starting Redis"
    version=$(redis-server --version | sed -n 's/.* v=\([0-9]*\)\..*/\1/p')
    ((${version:-0} >= 7)) || fail "Redis" "version ${version:-unknown} is installed, 7 or later is needed" \
        "install Redis 7, or set REDIS_URL to a server you have"
    mkdir -p "$REDIS_HOME"
    chmod 700 "$REDIS_HOME"
    port=$(choose_port REDIS)
    write_private "$REDIS_HOME/redis.conf" <<-CONF
		bind 127.0.0.1
		port $port
		protected-mode yes
		requirepass $REDIS_PASSWORD
		dir "$REDIS_HOME"
		daemonize no
		supervised no
		pidfile ""
		logfile ""
		appendonly no
		save ""
		maxmemory 512mb
		maxmemory-policy noeviction
	CONF
    (
        cd "$REDIS_HOME" || exit
        unset NOTIFY_SOCKET
        exec setsid redis-server "$REDIS_HOME/redis.conf"
    ) >>"$REDIS_LOG" 2>&1 </dev/null 9>&- &
    pid=$!
    printf '%s\n' "$pid" >"$REDIS_PIDFILE"
    code=0
    wait_for Redis 20 "$pid" redis_says_pong "$port" || code=$?
    case $code in
        1) fail_with_log "Redis" "no answer on port $port after 20 s" "read its log: $REDIS_LOG" "$REDIS_LOG" ;;
        2) fail_with_log "Redis" "it stopped while starting" "read its log: $REDIS_LOG" "$REDIS_LOG" ;;
    esac
    say "    Redis answers on 127.0.0.1:$port after $(elapsed "$begun")"
}

redis_ask_stop() { ! redis_running || kill -TERM "$(<"$REDIS_PIDFILE")"; }

redis_await_stop() {
    if redis_running; then
        wait_gone "$(<"$REDIS_PIDFILE")" 5 || kill -KILL "$(<"$REDIS_PIDFILE")" 2>/dev/null || true
    fi
    rm -f "$REDIS_PIDFILE"
}
