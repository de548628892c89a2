# shellcheck shell=bash
# The private RabbitMQ: its own Erlang node, its own port mapper (epmd), its own cookie, everything on 127.0.0.1.
# /usr/sbin/rabbitmq-* are wrappers that change to the user rabbitmq and its directories; the programs behind them,
# in /usr/lib/rabbitmq/bin, run as whoever calls them.

RABBIT_HOME=$STACK_DIR/rabbitmq
RABBIT_PIDFILE=$STACK_DIR/run/rabbitmq.pid
RABBIT_EPMD_PIDFILE=$STACK_DIR/run/epmd.pid
RABBIT_LOG=$STACK_DIR/logs/rabbitmq.log
RABBIT_CTL=$STACK_DIR/bin/rabbitmqctl
RABBIT_NODE=kanal-$STACK_HASH@localhost

rabbit_running() { pid_is_ours "$RABBIT_PIDFILE" "$RABBIT_HOME"; }

# rabbit_greets PORT: sends the AMQP header and expects a method frame back. The listener is the last thing that a node
# opens, so this also means that users and vhosts are there; asking rabbitmqctl instead would cost seconds a time.
rabbit_greets() {
    local fd byte=''
    exec {fd}<>"/dev/tcp/127.0.0.1/$1" || return 1
    printf 'AMQP\0\0\t\1' >&"$fd"
    IFS= read -r -t 3 -N 1 byte <&"$fd" || true
    exec {fd}>&-
    [[ $byte == $'\1' ]]
}

# The whole environment of the node and of its command line, as shell lines. Both must agree, and neither may see what
# the machine's own RabbitMQ is configured with.
rabbit_environment() {
    local amqp=$1 dist=$2 epmd=$3 name
    for name in $(compgen -e RABBITMQ_ || true); do printf 'unset %s\n' "$name"; done
    printf 'unset NOTIFY_SOCKET ERL_FLAGS ERL_AFLAGS ERL_ZFLAGS ERL_LIBS\n'
    export_line HOME "$RABBIT_HOME/home"
    export_line LC_ALL C.UTF-8
    export_line ERL_EPMD_PORT "$epmd"
    export_line ERL_EPMD_ADDRESS 127.0.0.1
    export_line RABBITMQ_CONF_ENV_FILE "$RABBIT_HOME/rabbitmq-env.conf"
    export_line RABBITMQ_NODENAME "$RABBIT_NODE"
    export_line RABBITMQ_NODE_IP_ADDRESS 127.0.0.1
    export_line RABBITMQ_NODE_PORT "$amqp"
    export_line RABBITMQ_DIST_PORT "$dist"
    export_line RABBITMQ_MNESIA_BASE "$RABBIT_HOME/data"
    export_line RABBITMQ_LOG_BASE "$STACK_DIR/logs"
    export_line RABBITMQ_LOGS "$RABBIT_LOG"
    export_line RABBITMQ_CONFIG_FILE "$RABBIT_HOME/rabbitmq.conf"
    export_line RABBITMQ_ADVANCED_CONFIG_FILE "$RABBIT_HOME/advanced.config"
    export_line RABBITMQ_GENERATED_CONFIG_DIR "$RABBIT_HOME/config"
    export_line RABBITMQ_ENABLED_PLUGINS_FILE "$RABBIT_HOME/enabled_plugins"
    export_line RABBITMQ_PID_FILE "$RABBIT_HOME/node.pid"
    # Two schedulers are plenty here, and an idle node then really idles.
    export_line RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS '-kernel inet_dist_use_interface {127,0,0,1} +S 2:2 +SDcpu 2:2 +SDio 4 +A 16'
    export_line RABBITMQ_CTL_ERL_ARGS '-kernel inet_dist_use_interface {127,0,0,1} +S 1:1 +SDcpu 1:1 +SDio 1'
    # Any free port: many tests call rabbitmqctl at once, the default is a range of eleven.
    export_line RABBITMQ_CTL_DIST_PORT_MIN 0
    export_line RABBITMQ_CTL_DIST_PORT_MAX 0
    # Makes the start script become the node instead of watching over it, so that we know its process id.
    export_line RUNNING_UNDER_SYSTEMD true
}

export_line() { printf 'export %s=%s\n' "$1" "$(quote "$2")"; }

rabbit_write_files() {
    local amqp=$1 dist=$2 epmd=$3
    mkdir -p "$RABBIT_HOME/home" "$RABBIT_HOME/data" "$RABBIT_HOME/config" "$STACK_DIR/bin"
    chmod 700 "$RABBIT_HOME" "$STACK_DIR/bin"
    : >"$RABBIT_HOME/rabbitmq-env.conf"
    printf '[].\n' >"$RABBIT_HOME/enabled_plugins"
    printf '[].\n' >"$RABBIT_HOME/advanced.config"
    if [[ ! -f $RABBIT_HOME/home/.erlang.cookie ]]; then
        random_hex 20 | write_private "$RABBIT_HOME/home/.erlang.cookie"
        chmod 400 "$RABBIT_HOME/home/.erlang.cookie"
    fi
    # The first boot makes exactly this user and this vhost; a guest never comes to be.
    write_private "$RABBIT_HOME/rabbitmq.conf" <<-CONF
		listeners.tcp.local = 127.0.0.1:$amqp
		default_vhost = kanal
		default_user = kanal
		default_pass = $RABBITMQ_PASSWORD
		default_user_tags.administrator = true
		disk_free_limit.absolute = 200MB
		vm_memory_high_watermark.relative = 0.3
		num_acceptors.tcp = 2
		heartbeat = 30
		log.file.level = info
	CONF
    rabbit_environment "$amqp" "$dist" "$epmd" | write_private "$RABBIT_HOME/environment"
    rabbit_write_ctl
}

# rabbitmqctl starts an Erlang machine for every call, close to a second of one core, and the tests make and drop a vhost
# each. So the three calls that they make go through erl_call (it comes with Erlang), which asks the node in
# milliseconds. Whatever it does not know, and whatever fails, goes to the real one.
rabbit_write_ctl() {
    {
        printf '#!/bin/sh\n# rabbitmqctl for the private node of this checkout. Written by deploy/dev/stack.\n'
        printf '. %s\nreal=%s\n' "$(quote "$RABBIT_HOME/environment")" "$(quote "$(rabbitmq_bin)/rabbitmqctl")"
        cat <<-'CTL'
			cd / || exit 1

			# True for a plain name, which needs no quoting in Erlang.
			plain() { case $1 in '' | *[!A-Za-z0-9_.-]*) return 1 ;; esac; }

			ask=''
			case "$1 $#" in
			'add_vhost 2') plain "$2" && ask="rabbit_vhost:add(<<\"$2\">>, <<\"kanal\">>)." ;;
			'delete_vhost 2') plain "$2" && ask="rabbit_vhost:delete(<<\"$2\">>, <<\"kanal\">>)." ;;
			'set_permissions 7')
			    [ "$2 $5$6$7" = '-p .*.*.*' ] && plain "$3" && plain "$4" && ask="rabbit_auth_backend_internal:set_permissions(\
			<<\"$4\">>, <<\"$3\">>, <<\".*\">>, <<\".*\">>, <<\".*\">>, <<\"kanal\">>)."
			    ;;
			esac
			if [ -n "$ask" ] && command -v erl_call >/dev/null; then
			    answer=$(printf '%s\n' "$ask" | erl_call -sname "$RABBITMQ_NODENAME" -e 2>/dev/null) && [ "$answer" = '{ok, ok}' ] && exit 0
			fi
			exec "$real" --quiet "$@"
		CTL
    } | write_private "$RABBIT_CTL"
    chmod 700 "$RABBIT_CTL"
}

rabbit_start() {
    local begun=${EPOCHREALTIME/[.,]/} amqp dist epmd pid code
    if rabbit_running; then
        rabbit_write_ctl
        say "    RabbitMQ is running (port $(recorded_port RABBITMQ))"
        return
    fi
    step "starting RabbitMQ (the slowest of the three: some ten seconds)"
    # A port mapper left behind by a node that was killed still sits on its port.
    rabbit_stop_epmd
    amqp=$(choose_port RABBITMQ)
    dist=$(choose_port RABBITMQ_DIST)
    epmd=$(choose_port RABBITMQ_EPMD)
    rabbit_write_files "$amqp" "$dist" "$epmd"

    # In the foreground of its own session rather than as -daemon: we know its process id and stop it with the node.
    (
        cd "$RABBIT_HOME" || exit
        exec setsid epmd -port "$epmd" -address 127.0.0.1
    ) >>"$STACK_DIR/logs/epmd.log" 2>&1 </dev/null 9>&- &
    printf '%s\n' "$!" >"$RABBIT_EPMD_PIDFILE"
    wait_for "Erlang's port mapper" 10 "$!" answers 127.0.0.1 "$epmd" ||
        fail_with_log "RabbitMQ" "Erlang's port mapper (epmd) did not start on port $epmd" \
            "try again; the port is chosen anew when it is taken" "$STACK_DIR/logs/epmd.log"

    (
        cd "$RABBIT_HOME" || exit
        # shellcheck disable=SC1091
        . "$RABBIT_HOME/environment"
        exec setsid "$(rabbitmq_bin)/rabbitmq-server"
    ) >"$STACK_DIR/logs/rabbitmq-start.log" 2>&1 </dev/null 9>&- &
    pid=$!
    printf '%s\n' "$pid" >"$RABBIT_PIDFILE"
    code=0
    wait_for RabbitMQ 120 "$pid" rabbit_greets "$amqp" || code=$?
    if ((code != 0)); then
        tail -n 10 "$STACK_DIR/logs/rabbitmq-start.log" | sed 's/^/  | /' >&2
        case $code in
            1) fail_with_log "RabbitMQ" "no answer on port $amqp after 120 s" "read its log: $RABBIT_LOG" "$RABBIT_LOG" ;;
            *) fail_with_log "RabbitMQ" "it stopped while starting" "read its log: $RABBIT_LOG; 'make clean-stack' starts afresh" "$RABBIT_LOG" ;;
        esac
    fi
    say "    RabbitMQ answers on 127.0.0.1:$amqp after $(elapsed "$begun")"
}

# TERM makes the node close its queues and leave in order.
rabbit_ask_stop() { ! rabbit_running || kill -TERM "$(<"$RABBIT_PIDFILE")"; }

rabbit_await_stop() {
    if rabbit_running; then
        wait_gone "$(<"$RABBIT_PIDFILE")" 10 || {
            warn "RabbitMQ did not stop within 10 s; killing it"
            kill -KILL "$(<"$RABBIT_PIDFILE")" 2>/dev/null || true
        }
    fi
    rm -f "$RABBIT_PIDFILE"
    rabbit_stop_epmd
}

rabbit_stop_epmd() {
    if pid_is_ours "$RABBIT_EPMD_PIDFILE" "$RABBIT_HOME"; then
        kill -TERM "$(<"$RABBIT_EPMD_PIDFILE")" 2>/dev/null || true
        wait_gone "$(<"$RABBIT_EPMD_PIDFILE")" 3 || true
    fi
    rm -f "$RABBIT_EPMD_PIDFILE"
}
