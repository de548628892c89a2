# shellcheck shell=bash
# The distribution's packages: install what is missing, start nothing, create no cluster, leave no trace but packages.

POLICY_FILE=/usr/sbin/policy-rc.d
POLICY_MARK='# put here by the Kanal stack for one installation'
CLUSTER_DROPIN=/etc/postgresql-common/createcluster.d/kanal-stack.conf

# Prints the newest bin directory of Postgres 15 or later, or of exactly the version given.
# shellcheck disable=SC2120 # called with an argument from postgres.sh
postgres_bin() {
    local wanted=${1:-} dir version best=0
    for dir in /usr/lib/postgresql/*/bin; do
        version=${dir#/usr/lib/postgresql/}
        version=${version%/bin}
        [[ $version =~ ^[0-9]+$ && -x $dir/initdb && -x $dir/postgres ]] || continue
        if [[ -n $wanted ]]; then
            [[ $version != "$wanted" ]] || best=$version
        elif ((version >= 15 && version > best)); then
            best=$version
        fi
    done
    ((best > 0)) || return 1
    printf '/usr/lib/postgresql/%s/bin' "$best"
}

rabbitmq_bin() {
    local dir
    for dir in /usr/lib/rabbitmq/bin /usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin; do
        if [[ -x $dir/rabbitmq-server && -x $dir/rabbitmqctl ]]; then
            printf '%s' "$dir"
            return
        fi
    done
    return 1
}

as_root() {
    if ((EUID == 0)); then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        fail "installing packages" "you are neither root nor is there a sudo" "as root: apt-get install ${MISSING[*]}"
    fi
}

MISSING=()
PACKAGES_UNDO=()
# The process group of the apt-get at work.
APT_GROUP=''

# Collects into MISSING. Arguments: any of postgres psql redis rabbitmq build python nginx browser
# compose systemd shellcheck container.
find_missing_packages() {
    local part
    MISSING=()
    for part in "$@"; do
        case $part in
            postgres) postgres_bin '' >/dev/null || MISSING+=(postgresql) ;;
            psql) command -v psql >/dev/null || MISSING+=(postgresql-client) ;;
            redis) command -v redis-server >/dev/null || MISSING+=(redis-server) ;;
            rabbitmq) rabbitmq_bin >/dev/null || MISSING+=(rabbitmq-server) ;;
            # Two crates compile C, and the Rust toolchain links through cc.
            build) command -v cc >/dev/null || MISSING+=(gcc libc6-dev) ;;
            nginx) command -v nginx >/dev/null || MISSING+=(nginx-light) ;;
            # With letters to write with: of its own it has none.
            browser)
                command -v chromium >/dev/null || MISSING+=(chromium)
                command -v chromedriver >/dev/null || MISSING+=(chromium-driver)
                # Without it, what people write with pictures in it is shown with boxes.
                [[ -e /usr/share/fonts/truetype/noto/NotoColorEmoji.ttf ]] || MISSING+=(fonts-noto-color-emoji)
                [[ -e /usr/share/fonts/truetype/noto/NotoSans-Regular.ttf ]] || MISSING+=(fonts-noto-core)
                ;;
            shellcheck) command -v shellcheck >/dev/null || MISSING+=(shellcheck) ;;
            # Its `config` needs no Docker.
            compose) command -v docker-compose >/dev/null || MISSING+=(docker-compose) ;;
            # For systemd-analyze and systemd-sysusers; nothing is started by it.
            systemd) command -v systemd-analyze >/dev/null || MISSING+=(systemd) ;;
            # A bare Debian, and what boots it.
            container)
                command -v debootstrap >/dev/null || MISSING+=(debootstrap)
                command -v systemd-nspawn >/dev/null || MISSING+=(systemd-container)
                ;;
            # Debian's python3 makes no virtual environments by itself.
            python) python3 -c 'import ensurepip, venv' 2>/dev/null || MISSING+=(python3 python3-venv) ;;
        esac
    done
    command -v curl >/dev/null || MISSING+=(curl)
}

install_missing_packages() {
    local log=$STACK_DIR/logs/apt.log unit fresh_postgres=0 part
    find_missing_packages "$@"
    ((${#MISSING[@]} > 0)) || return 0
    command -v apt-get >/dev/null || fail "installing packages" "this is no Debian: there is no apt-get" \
        "install by hand: ${MISSING[*]}; or set DATABASE_URL, REDIS_URL and RABBITMQ_URL to servers you have; or use docker-compose.yml"

    step "installing from the distribution: ${MISSING[*]}"
    say "    their services are not started, and no default Postgres cluster is created"
    if ((EUID != 0)); then say "    (sudo may ask for your password)"; as_root true; fi

    # However this ends: first apt-get, then the guards that keep what it installs from starting.
    trap 'stop_apt; undo_package_guards' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    trap 'exit 129' HUP
    if [[ ! -e $POLICY_FILE ]]; then
        PACKAGES_UNDO+=("$POLICY_FILE")
        printf '#!/bin/sh\n%s\nexit 101\n' "$POLICY_MARK" | as_root tee "$POLICY_FILE" >/dev/null
        as_root chmod 755 "$POLICY_FILE"
    fi
    if [[ " ${MISSING[*]} " == *" postgresql "* && ! -e /etc/postgresql-common/createcluster.conf ]]; then
        fresh_postgres=1
        PACKAGES_UNDO+=("$CLUSTER_DROPIN")
        as_root mkdir -p "${CLUSTER_DROPIN%/*}"
        printf 'create_main_cluster = false\n' | as_root tee "$CLUSTER_DROPIN" >/dev/null
    fi

    : >"$log"
    if ! compgen -G '/var/lib/apt/lists/*_Packages*' >/dev/null; then apt_shown "$log" update || true; fi
    if ! apt_shown "$log" install -y --no-install-recommends "${MISSING[@]}"; then
        say "    once more with fresh package lists"
        apt_shown "$log" update || true
        apt_shown "$log" install -y --no-install-recommends "${MISSING[@]}" ||
            fail_with_log "installing packages" "apt-get could not install ${MISSING[*]}" \
                "try it by hand: apt-get update && apt-get install ${MISSING[*]}" "$log"
    fi
    undo_package_guards
    trap - EXIT INT TERM HUP

    # What we just installed would come up at the next boot, on the well-known ports, for nobody's use. What was there
    # before is not in MISSING, and what runs is left alone.
    if [[ -d /run/systemd/system ]]; then
        for unit in redis-server rabbitmq-server; do
            [[ " ${MISSING[*]} " == *" $unit "* ]] || continue
            systemctl is-active --quiet "$unit" && continue
            as_root systemctl disable --quiet "$unit" 2>/dev/null || true
            say "    $unit.service is installed but does not start at boot (systemctl enable $unit would change that)"
        done
    fi
    ((fresh_postgres == 0)) || say "    Postgres: no cluster 'main' was created (pg_createcluster makes one, if you want it)"

    part=("${MISSING[@]}")
    find_missing_packages "$@"
    if ((${#MISSING[@]} > 0)); then
        fail_with_log "installing packages" "${part[*]} went in, but ${MISSING[*]} is still not usable (Postgres must be 15 or later)" \
            "Debian 12 or later has all of them; elsewhere set DATABASE_URL, REDIS_URL and RABBITMQ_URL" "$log"
    fi
}

undo_package_guards() {
    local file
    for file in "${PACKAGES_UNDO[@]}"; do
        # Never remove a policy that somebody else put there meanwhile.
        if [[ $file == "$POLICY_FILE" ]] && ! grep -qF "$POLICY_MARK" "$file" 2>/dev/null; then continue; fi
        as_root rm -f "$file"
    done
    PACKAGES_UNDO=()
}

# Stops apt-get and all it started, which go on by themselves when only the shell is interrupted.
stop_apt() {
    local group=$APT_GROUP end
    [[ -n $group ]] || return 0
    APT_GROUP=''
    say "    stopping apt-get"
    as_root kill -TERM -- "-$group" 2>/dev/null || true
    wait "$group" 2>/dev/null || true
    end=$((SECONDS + 30))
    while as_root kill -0 -- "-$group" 2>/dev/null; do
        if ((SECONDS >= end)); then
            as_root kill -KILL -- "-$group" 2>/dev/null || true
            break
        fi
        sleep 0.2
    done
    say "    if it was in the middle of a package: dpkg --configure -a"
}

# apt_shown LOG ARGUMENTS…: one short line per package that is fetched, unpacked or set up; everything else to the log.
apt_shown() {
    local log=$1 code=0
    shift
    say "    apt-get $*"
    # In a process group of its own, so that all of it can be stopped, but in the terminal's session, where sudo remembers
    # the password; and waited for, so that a signal is heard at once.
    set -m
    {
        as_root env DEBIAN_FRONTEND=noninteractive apt-get -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=120 \
            -o Dpkg::Options::=--force-confold "$@" </dev/null 2>&1 9>&- |
            tee -a "$log" |
            sed -u -n -E -e 's/^(Get:[0-9]+) [^ ]+ [^ ]+ [^ ]+ ([^ ]+ [^ ]+ [^ ]+).*/      \1 \2/p' \
                -e 's/^(Unpacking|Setting up) ([^ ]+).*/      \1 \2/p' -e 's/^(E: .*)/      \1/p' >&2
    } 9>&- &
    APT_GROUP=$!
    set +m
    wait "$APT_GROUP" || code=$?
    APT_GROUP=''
    return "$code"
}
