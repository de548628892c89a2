# shellcheck shell=bash
# Ports: remembered in .stack/ports so that addresses stay the same from run to run; chosen anew when taken.

PORTS_FILE=$STACK_DIR/ports

# port_free PORT: asks the kernel by binding, on all addresses, as a server would. perl-base is part of every Debian.
port_free() {
    perl -MSocket -e '
        socket(my $s, PF_INET, SOCK_STREAM, getprotobyname("tcp") || 6) or exit 1;
        setsockopt($s, SOL_SOCKET, SO_REUSEADDR, pack("l", 1));
        exit(bind($s, sockaddr_in($ARGV[0], INADDR_ANY)) && listen($s, 1) ? 0 : 1);
    ' "$1"
}

# port_taken_here PORT: already promised to another part of this stack.
port_taken_here() { [[ -f $PORTS_FILE ]] && grep -q "=$1\$" "$PORTS_FILE"; }

recorded_port() { [[ -f $PORTS_FILE ]] && sed -n "s/^$1=//p" "$PORTS_FILE" | tail -n 1; }

record_port() {
    { [[ -f $PORTS_FILE ]] && grep -v "^$1=" "$PORTS_FILE"; printf '%s=%s\n' "$1" "$2"; } | write_private "$PORTS_FILE"
}

# choose_port NAME [PREFERRED]: prints the port; keeps the remembered one while it is free.
choose_port() {
    local name=$1 preferred=${2:-} port tries
    port=$(recorded_port "$name" || true)
    if [[ -n $port ]] && port_free "$port"; then
        printf '%s' "$port"
        return
    fi
    [[ -z $port ]] || say "    port $port for $name is taken now; choosing another"
    if [[ -n $preferred ]] && ! port_taken_here "$preferred" && port_free "$preferred"; then
        port=$preferred
    else
        # Below the ephemeral range, else an outgoing connection could sit on our port while the server is down.
        for tries in {1..200}; do
            port=$((15000 + (RANDOM << 3 ^ RANDOM) % 17000))
            ! port_taken_here "$port" && port_free "$port" && break
            ((tries < 200)) || fail "a port for $name" "200 attempts found none free" "check 'ss -ltn'"
        done
    fi
    record_port "$name" "$port"
    printf '%s' "$port"
}
