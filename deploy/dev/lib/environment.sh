# shellcheck shell=bash
# Secrets, and .stack/env: every URL and credential of the local system, made to be sourced.

SECRETS_FILE=$STACK_DIR/secrets
ENV_FILE=$STACK_DIR/env

# Generated once and kept: what is encrypted or stored under them must still open at the next run.
ensure_secrets() {
    declare -A have=()
    local name line
    if [[ -f $SECRETS_FILE ]]; then
        # Not `IFS== read name value`: that would eat the padding at the end of base64.
        while IFS= read -r line; do [[ $line != ?*=* ]] || have[${line%%=*}]=${line#*=}; done <"$SECRETS_FILE"
    fi
    want() { [[ -n ${have[$1]:-} ]] || have[$1]=$2; }
    for name in PG_PASSWORD REDIS_PASSWORD RABBITMQ_PASSWORD CHANNEL_DB_PASSWORD WA_SUPPORT_DB_PASSWORD \
        CHATWOOT_BRIDGE_DB_PASSWORD WA_ADMIN_TOKEN METRICS_TOKEN BRIDGE_ADMIN_PASSWORD INTERNAL_API_KEY WA_SUPPORT_INTERNAL_API_KEY; do
        want "$name" "$(random_hex 16)"
    done
    want ENCRYPTION_KEYS "dev1:$(random_base64 32)"
    unset -f want
    for name in "${!have[@]}"; do printf '%s=%s\n' "$name" "${have[$name]}"; done | sort | write_private "$SECRETS_FILE"
    for name in "${!have[@]}"; do printf -v "$name" '%s' "${have[$name]}"; done
}

# Servers from outside count only when they are really from outside: a shell that sourced .stack/env has our own URLs
# in REDIS_URL and RABBITMQ_URL, recognisable by our own passwords.
find_outside_servers() {
    OUTSIDE_PG=${DATABASE_URL:-}
    OUTSIDE_REDIS=${REDIS_URL:-}
    OUTSIDE_RABBITMQ=${RABBITMQ_URL:-}
    [[ $OUTSIDE_PG != *"$PG_PASSWORD"* && $OUTSIDE_PG != *"$CHANNEL_DB_PASSWORD"* ]] || OUTSIDE_PG=''
    [[ $OUTSIDE_REDIS != *"$REDIS_PASSWORD"* ]] || OUTSIDE_REDIS=''
    [[ $OUTSIDE_RABBITMQ != *"$RABBITMQ_PASSWORD"* ]] || OUTSIDE_RABBITMQ=''
}

# url_address URL DEFAULT_PORT: "host port"
url_address() {
    local rest=${1#*://} port=$2
    rest=${rest%%[/?]*}
    rest=${rest##*@}
    if [[ $rest =~ ^\[(.*)\](:([0-9]+))?$ ]]; then
        printf '%s %s' "${BASH_REMATCH[1]}" "${BASH_REMATCH[3]:-$port}"
    elif [[ $rest == *:* ]]; then
        printf '%s %s' "${rest%:*}" "${rest##*:}"
    else
        printf '%s %s' "$rest" "$port"
    fi
}

# check_outside NAME URL DEFAULT_PORT: reachable, or say so now instead of as a stack trace in three minutes.
check_outside() {
    local host port
    read -r host port <<<"$(url_address "$2" "$3")"
    # shellcheck disable=SC2016 # the inner shell expands
    timeout 5 bash -c 'exec 3<>"/dev/tcp/$0/$1"' "$host" "$port" 2>/dev/null || fail "$1" \
        "it is set in your environment, and nothing answers at $host:$port" \
        "start that server, correct $1, or unset it so that a private one is started"
    say "    using $1 from the environment ($host:$port)"
}

# with_login URL USER PASSWORD: the same server, database and parameters for another role.
with_login() {
    local scheme=${1%%://*} rest=${1#*://} authority tail=''
    authority=${rest%%[/?]*}
    tail=${rest:${#authority}}
    printf '%s://%s:%s@%s%s' "$scheme" "$2" "$3" "${authority##*@}" "$tail"
}

choose_service_ports() {
    # A port that a service of ours is listening on is not free, but it is the right one.
    local pair name preferred service
    for pair in CHANNEL:3001:channel-service WA_SUPPORT:8070:wa-support-gateway \
        CHATWOOT_BRIDGE:3000:chatwoot-bridge SIMULATOR:8090:simulator; do
        IFS=: read -r name preferred service <<<"$pair"
        if [[ -n $(recorded_port "$name" || true) ]] && service_pid_alive "$service"; then continue; fi
        choose_port "$name" "$preferred" >/dev/null
    done
}

service_pid_alive() {
    local file=$STACK_DIR/run/$1.pid pid
    [[ -r $file ]] || return 1
    pid=$(<"$file")
    [[ $pid =~ ^[0-9]+$ && $(readlink "/proc/$pid/exe" 2>/dev/null) == */"$1"* ]]
}

write_env() {
    local pg redis rabbit
    pg=${OUTSIDE_PG:-postgres://$PG_SUPERUSER:$PG_PASSWORD@127.0.0.1:$(recorded_port POSTGRES || true)/kanal}
    redis=${OUTSIDE_REDIS:-redis://:$REDIS_PASSWORD@127.0.0.1:$(recorded_port REDIS || true)}
    rabbit=${OUTSIDE_RABBITMQ:-amqp://kanal:$RABBITMQ_PASSWORD@127.0.0.1:$(recorded_port RABBITMQ || true)/kanal}
    {
        printf '# Written by deploy/dev/stack; changes are lost. Use it with:  . .stack/env\n'
        printf '\n# Servers.\n'
        export_line KANAL_PG_ADMIN_URL "$pg"
        export_line REDIS_URL "$redis"
        export_line RABBITMQ_URL "$rabbit"
        if [[ -z $OUTSIDE_RABBITMQ ]]; then
            export_line KANAL_RABBITMQCTL "$RABBIT_CTL"
        else
            printf 'unset KANAL_RABBITMQCTL\n'
        fi
        printf '\n# The same, under the names that the tests read.\n'
        export_line TEST_DATABASE_URL "$pg"
        export_line TEST_REDIS_URL "$redis"
        export_line TEST_RABBITMQ_URL "$rabbit"
        printf '\n# Each service: its login role, and who sets it up and migrates, which makes the roles.\n'
        export_line CHANNEL_DATABASE_URL "$(with_login "$pg" channel_service "$CHANNEL_DB_PASSWORD")"
        export_line CHANNEL_MIGRATE_DATABASE_URL "$pg"
        export_line WA_SUPPORT_DATABASE_URL "$(with_login "$pg" wa_support_service "$WA_SUPPORT_DB_PASSWORD")"
        export_line WA_SUPPORT_MIGRATE_DATABASE_URL "$pg"
        export_line CHATWOOT_BRIDGE_DATABASE_URL "$(with_login "$pg" chatwoot_bridge_service "$CHATWOOT_BRIDGE_DB_PASSWORD")"
        export_line CHATWOOT_BRIDGE_MIGRATE_DATABASE_URL "$pg"
        printf '\n# Where the services and the simulator listen.\n'
        export_line CHANNEL_URL "http://127.0.0.1:$(recorded_port CHANNEL)"
        export_line WA_SUPPORT_URL "http://127.0.0.1:$(recorded_port WA_SUPPORT)"
        export_line CHATWOOT_BRIDGE_URL "http://127.0.0.1:$(recorded_port CHATWOOT_BRIDGE)"
        export_line SIMULATOR_URL "http://127.0.0.1:$(recorded_port SIMULATOR)"
        printf '\n# Secrets, generated for this checkout alone.\n'
        export_line ENCRYPTION_KEYS "$ENCRYPTION_KEYS"
        export_line INTERNAL_API_KEY "$INTERNAL_API_KEY"
        export_line WA_SUPPORT_INTERNAL_API_KEY "$WA_SUPPORT_INTERNAL_API_KEY"
        export_line WA_ADMIN_TOKEN "$WA_ADMIN_TOKEN"
        export_line METRICS_TOKEN "$METRICS_TOKEN"
        export_line BRIDGE_ADMIN_PASSWORD "$BRIDGE_ADMIN_PASSWORD"
    } | write_private "$ENV_FILE"
}
