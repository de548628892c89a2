# shellcheck shell=bash
# find_prometheus: sets PROMTOOL and PROMETHEUS. The machine's own, else Debian's package unpacked below .stack: nothing is
# installed, no service is made or started, and no user. Returns 1 where it cannot be had. Needs common.sh.

# shellcheck disable=SC2034 # read by the scripts that source this file
find_prometheus() {
    local dir=$STACK_DIR/prometheus log=$STACK_DIR/logs/prometheus-package.log part
    if command -v promtool >/dev/null && command -v prometheus >/dev/null; then
        PROMTOOL=$(command -v promtool)
        PROMETHEUS=$(command -v prometheus)
        return
    fi
    if [[ ! -f $dir/whole ]]; then
        command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || return 1
        step "fetching Debian's prometheus (once, into $dir)"
        rm -rf "$dir"
        # apt-get fetches as a user of its own, who must be able to write here.
        part=$(mktemp -d)
        chmod 755 "$part"
        mkdir -p "$STACK_DIR/logs"
        if ! (
            cd "$part"
            timeout 300 apt-get download prometheus || { timeout 300 apt-get update && timeout 300 apt-get download prometheus; }
        ) >"$log" 2>&1 9>&-; then
            tail -n 3 "$log" | sed 's/^/  | /' >&2
            rm -rf "$part"
            return 1
        fi
        mkdir -p "$dir"
        dpkg-deb --fsys-tarfile "$part"/prometheus_*.deb | tar -x -C "$dir" --strip-components=3 ./usr/bin
        rm -rf "$part"
        # Linked against libc alone, but ask it.
        "$dir/promtool" --version >>"$log" 2>&1 || return 1
        : >"$dir/whole"
    fi
    PROMTOOL=$dir/promtool
    PROMETHEUS=$dir/prometheus
}
