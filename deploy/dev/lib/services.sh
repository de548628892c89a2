# shellcheck shell=bash
# The three services and the simulator as child processes. Expects the names of .stack/env in the environment and BIN, the
# directory of the binaries. Needs common.sh.

SERVICES=(wa-support-gateway channel-service chatwoot-bridge)
# A service gives itself 10 s to finish what is in hand; then it says what is left and goes.
STOP_SECONDS=13

url_port() { printf '%s' "${1##*:}"; }

# What each service is told, as NAME=value lines: the whole of its configuration, nothing of the others'.
common_env() {
    printf 'METRICS_TOKEN=%s\n' "$METRICS_TOKEN"
    printf 'LOG_LEVEL=%s\n' "${LOG_LEVEL:-info}"
    printf 'LOG_FORMAT=%s\n' "${LOG_FORMAT:-pretty}"
}

channel_env() {
    printf 'HOST=%s\nPORT=%s\n' "${LISTEN_HOST:-127.0.0.1}" "$(url_port "$CHANNEL_URL")"
    printf 'DATABASE_URL=%s\n' "$CHANNEL_DATABASE_URL"
    printf 'MIGRATE_DATABASE_URL=%s\n' "$CHANNEL_MIGRATE_DATABASE_URL"
    printf 'REDIS_URL=%s\n' "$REDIS_URL"
    printf 'RABBITMQ_URL=%s\n' "$RABBITMQ_URL"
    printf 'ENCRYPTION_KEYS=%s\n' "$ENCRYPTION_KEYS"
    printf 'INTERNAL_API_KEY=%s\n' "$INTERNAL_API_KEY"
    printf 'PUBLIC_CHANNEL_BASE_URL=%s\n' "$CHANNEL_URL"
    printf 'WA_API_URL=%s/v1/wa\n' "$WA_SUPPORT_URL"
    printf 'WA_SUPPORT_URL=%s\n' "$WA_SUPPORT_URL"
    printf 'WA_SUPPORT_INTERNAL_API_KEY=govconnect:%s\n' "$WA_SUPPORT_INTERNAL_API_KEY"
    printf 'API_DOCS=true\nCOOKIE_SECURE=false\n'
    printf 'MEDIA_STORAGE_PATH=%s/uploads\n' "$STACK_DIR"
    printf 'MEDIA_PUBLIC_URL=%s/uploads\nMEDIA_INTERNAL_URL=%s/uploads\n' "$CHANNEL_URL" "$CHANNEL_URL"
    # The simulator's bucket and the bridge, which hands agents' files on, are on the loopback, where outbound calls are
    # otherwise refused.
    printf 'OUTBOUND_ALLOWED_PRIVATE_HOSTS=%s\n' \
        "${OUTBOUND_ALLOWED_PRIVATE_HOSTS:-127.0.0.1:$(url_port "$SIMULATOR_URL"),127.0.0.1:$(url_port "$CHATWOOT_BRIDGE_URL")}"
    common_env
}

wa_support_env() {
    printf 'HOST=%s\nPORT=%s\n' "${LISTEN_HOST:-127.0.0.1}" "$(url_port "$WA_SUPPORT_URL")"
    printf 'DATABASE_URL=%s\n' "$WA_SUPPORT_DATABASE_URL"
    printf 'MIGRATE_DATABASE_URL=%s\n' "$WA_SUPPORT_MIGRATE_DATABASE_URL"
    printf 'WA_SERVER_URL=%s/wa\n' "$SIMULATOR_URL"
    printf 'WA_ADMIN_TOKEN=%s\n' "$WA_ADMIN_TOKEN"
    printf 'REDIS_URL=%s\n' "$REDIS_URL"
    printf 'RABBITMQ_URL=%s\n' "$RABBITMQ_URL"
    printf 'ENCRYPTION_KEYS=%s\n' "$ENCRYPTION_KEYS"
    printf 'INTERNAL_API_KEYS=govconnect:%s\n' "$WA_SUPPORT_INTERNAL_API_KEY"
    printf 'PUBLIC_GATEWAY_BASE_URL=%s\n' "$WA_SUPPORT_URL"
    printf 'API_DOCS=true\n'
    # The customer's webhooks go to channel-service on the loopback, where outbound calls are otherwise refused.
    printf 'OUTBOUND_ALLOWED_PRIVATE_HOSTS=%s\n' "${OUTBOUND_ALLOWED_PRIVATE_HOSTS:-127.0.0.1:$(url_port "$CHANNEL_URL")}"
    common_env
}

chatwoot_bridge_env() {
    printf 'HOST=%s\nPORT=%s\n' "${LISTEN_HOST:-127.0.0.1}" "$(url_port "$CHATWOOT_BRIDGE_URL")"
    printf 'DATABASE_URL=%s\n' "$CHATWOOT_BRIDGE_DATABASE_URL"
    printf 'MIGRATE_DATABASE_URL=%s\n' "$CHATWOOT_BRIDGE_MIGRATE_DATABASE_URL"
    printf 'RABBITMQ_URL=%s\n' "$RABBITMQ_URL"
    printf 'ENCRYPTION_KEYS=%s\n' "$ENCRYPTION_KEYS"
    printf 'FILES_URL=%s\n' "$CHATWOOT_BRIDGE_URL"
    printf 'CHANNEL_FILES_URL=%s/uploads\n' "$CHANNEL_URL"
    printf 'CHANNEL_SERVICE_URL=%s\nCHANNEL_SERVICE_KEY=%s\n' "$CHANNEL_URL" "$INTERNAL_API_KEY"
    printf 'PUBLIC_BRIDGE_URL=%s\n' "$CHATWOOT_BRIDGE_URL"
    printf 'BASIC_AUTH_PASS=%s\n' "$BRIDGE_ADMIN_PASSWORD"
    # The simulator's Chatwoot is on the loopback, where outbound calls are otherwise refused.
    printf 'OUTBOUND_ALLOWED_PRIVATE_HOSTS=%s\n' "${OUTBOUND_ALLOWED_PRIVATE_HOSTS:-127.0.0.1:$(url_port "$SIMULATOR_URL")}"
    common_env
}

simulator_env() {
    printf 'WA_ADMIN_TOKEN=%s\n' "$WA_ADMIN_TOKEN"
    printf 'LOG_LEVEL=%s\nLOG_FORMAT=%s\n' "${LOG_LEVEL:-info}" "${LOG_FORMAT:-pretty}"
}

service_env() {
    case $1 in
        channel-service) channel_env ;;
        wa-support-gateway) wa_support_env ;;
        chatwoot-bridge) chatwoot_bridge_env ;;
        simulator) simulator_env ;;
    esac
}

# handed_on SERVICE: names of variables that the service gets as they stand in our own environment, where they are set. Their
# values may have many lines; a list of endpoints also needs what it refers to.
handed_on() {
    [[ $1 == channel-service ]] || return 0
    printf '%s ' WHATSAPP_ENDPOINTS KANAL_ENV_FILE
    local rest=${WHATSAPP_ENDPOINTS:-}
    while [[ $rest =~ \$\(ENV:([A-Za-z_][A-Za-z0-9_]*)\) ]]; do
        printf '%s ' "${BASH_REMATCH[1]}"
        rest=${rest#*"${BASH_REMATCH[0]}"}
    done
}

# as_service SERVICE [ARGUMENTS…]: becomes the service's binary with the service's own environment; EXTRA_ENV names
# variables to hand on besides (secrets for a chore go this way, never as arguments). Call it in a subshell.
as_service() {
    local service=$1 name line lines keep binary=$BIN/$1 prefix=${SERVICE_PREFIX:-}
    keep=" ${EXTRA_ENV:-} $(handed_on "$1")"
    shift
    # The service starts in another directory.
    [[ -z ${KANAL_ENV_FILE:-} || $KANAL_ENV_FILE == /* ]] || export KANAL_ENV_FILE=$PWD/$KANAL_ENV_FILE
    lines=$(service_env "$service")
    cd "$STACK_DIR/run" || exit
    for name in $(compgen -e); do
        [[ $keep != *" $name "* ]] || continue
        case $name in
            PATH | HOME | LANG | LC_* | TZ | TMPDIR | TERM | NO_COLOR | RUST_* | SSL_CERT_* | OTEL_*) ;;
            *) unset "$name" ;;
        esac
    done
    while IFS= read -r line; do export "${line?}"; done <<<"$lines"
    exec ${prefix:+"$prefix"} "$binary" "$@" 8>&- 9>&-
}

service_log() { printf '%s/logs/%s.log' "$STACK_DIR" "$1"; }
service_pidfile() { printf '%s/run/%s.pid' "$STACK_DIR" "$1"; }

# start_service SERVICE [ARGUMENTS…]. In a session of its own: Ctrl-C must reach only the script, which stops things in order.
start_service() {
    local service=$1 log
    log=$(service_log "$service")
    [[ ! -s $log ]] || mv -f "$log" "$log.old"
    (
        SERVICE_PREFIX=setsid
        as_service "$@"
    ) >"$log" 2>&1 </dev/null &
    printf '%s\n' "$!" >"$(service_pidfile "$service")"
    STARTED+=("$service")
    # shellcheck disable=SC2004 # an associative array
    PIDS[$service]=$!
}

service_ready() {
    if [[ $1 == simulator ]]; then
        answers 127.0.0.1 "$(url_port "$SIMULATOR_URL")"
    else
        (as_service "$1" healthcheck) >/dev/null 2>&1
    fi
}

await_service() {
    local service=$1 begun=${EPOCHREALTIME/[.,]/} code=0 log
    log=$(service_log "$service")
    wait_for "$service" 60 "${PIDS[$service]}" service_ready "$service" || code=$?
    case $code in
        0) say "    $service is ready after $(elapsed "$begun")" ;;
        1)
            (as_service "$service" healthcheck) 2>&1 | sed 's/^/  healthcheck: /' >&2 || true
            fail_with_log "$service" "it is not ready after 60 s" "read its log: $log" "$log"
            ;;
        *) fail_with_log "$service" "it stopped while starting" "read its log: $log" "$log" ;;
    esac
}

# Services first and all at once (each drains its own work), in the reverse order of their start; then the simulator, which
# they may still be talking to until then.
stop_services() {
    local i service
    local -a order=()
    for ((i = ${#STARTED[@]} - 1; i >= 0; i--)); do
        [[ ${STARTED[i]} == simulator ]] || order+=("${STARTED[i]}")
    done
    for service in "${order[@]}"; do kill -TERM "${PIDS[$service]}" 2>/dev/null || true; done
    stop_by "$STOP_SECONDS" "${order[@]}"
    if [[ -n ${PIDS[simulator]:-} ]]; then
        kill -TERM "${PIDS[simulator]}" 2>/dev/null || true
        stop_by 2 simulator
    fi
}

# stop_by SECONDS SERVICE…: all of them together get so long; who is still there is killed, and said so.
stop_by() {
    local end=$((SECONDS + $1)) service left
    shift
    for service in "$@"; do
        left=$((end - SECONDS))
        if ! wait_gone "${PIDS[$service]}" $((left > 0 ? left : 0)); then
            warn "$service did not stop in time; killing it (log: $(service_log "$service"))"
            kill -KILL "${PIDS[$service]}" 2>/dev/null || true
        fi
        # Also takes in bash's own remark about a killed job.
        wait "${PIDS[$service]}" 2>/dev/null || true
        rm -f "$(service_pidfile "$service")"
    done
}

# What a killed `make run` left behind would hold our ports and work on our queues.
stop_leftovers() {
    local service file
    for service in "${SERVICES[@]}" simulator; do
        file=$(service_pidfile "$service")
        if pid_is_ours "$file" "$STACK_DIR/run"; then
            say "    stopping a $service left over from an earlier run (pid $(<"$file"))"
            kill -TERM "$(<"$file")" 2>/dev/null || true
            wait_gone "$(<"$file")" "$STOP_SECONDS" || kill -KILL "$(<"$file")" 2>/dev/null || true
        fi
        rm -f "$file"
    done
}
