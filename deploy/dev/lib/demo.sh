# shellcheck shell=bash
# The demo tenant: one customer with one WhatsApp session, one account for it in channel-service, one Chatwoot inbox, and
# the wire between them. Used by deploy/dev/run and deploy/docker/demo. The simulator forgets everything when it stops and
# the databases do not, so all of this runs every time; every chore updates what is already there.
#
# Expects: `chore SERVICE ARGUMENTS…` (runs it with its environment, JSON on stdout), CHANNEL_URL, CHATWOOT_BRIDGE_URL,
# SIMULATOR_URL, and `fail_with_log`. Logs to DEMO_LOG.

DEMO_TENANT=desa-contoh

# json_field NAME: the first string or number of that name in the JSON on standard input. Enough for the flat objects that
# the chores print; no jq on a fresh machine.
json_field() {
    tr -d '\n' | grep -o "\"$1\"[[:space:]]*:[[:space:]]*\(\"[^\"]*\"\|-\{0,1\}[0-9][0-9]*\)" | head -n 1 |
        sed -e 's/^"[^"]*"[[:space:]]*:[[:space:]]*//' -e 's/^"\(.*\)"$/\1/'
}

# demo_field WHAT NAME JSON
demo_field() {
    local value
    value=$(json_field "$2" <<<"$3") || true
    [[ -n $value ]] || fail_with_log "the demo tenant" "$1 did not answer with '$2'" "read $DEMO_LOG" "$DEMO_LOG"
    printf '%s' "$value"
}

demo_chore() {
    local what=$1
    shift
    chore "$@" 2>>"$DEMO_LOG" || fail_with_log "the demo tenant" "$what failed ('${*:1:3}')" "read $DEMO_LOG" "$DEMO_LOG"
}

sim_post() {
    curl --silent --show-error --fail-with-body --max-time 10 --noproxy '*' -X POST -H 'content-type: application/json' \
        --data "$2" "$SIMULATOR_URL$1" 2>>"$DEMO_LOG" ||
        fail_with_log "the demo tenant" "the simulator refused POST $1" "read $DEMO_LOG and the simulator's log" "$DEMO_LOG"
}

# Sets DEMO_SESSION_ID, DEMO_SESSION_TOKEN, DEMO_HMAC_KEY, DEMO_TENANT_ID, DEMO_ACCOUNT_ID, DEMO_CHATWOOT_ACCOUNT,
# DEMO_CHATWOOT_TOKEN, DEMO_INBOX, DEMO_INBOX_LINK_ID.
# shellcheck disable=SC2034 # demo_lines prints them all, by name
provision_demo() {
    local json CHATWOOT_WEBHOOK_SECRET
    : >"$DEMO_LOG"

    json=$(demo_chore 'creating the WhatsApp session' wa-support-gateway session create \
        --customer "$DEMO_TENANT" --source govconnect --name "$DEMO_TENANT" --webhook-url "$CHANNEL_URL/webhook")
    DEMO_SESSION_ID=$(demo_field 'session create' session_id "$json")
    DEMO_SESSION_TOKEN=$(demo_field 'session create' session_token "$json")
    DEMO_HMAC_KEY=$(demo_field 'session create' hmac_key "$json")

    json=$(SESSION_TOKEN=$DEMO_SESSION_TOKEN HMAC_KEY=$DEMO_HMAC_KEY EXTRA_ENV='SESSION_TOKEN HMAC_KEY' \
        demo_chore 'creating the account' channel-service account create \
        --tenant "$DEMO_TENANT" --instance "$DEMO_TENANT" --session-id "$DEMO_SESSION_ID")
    DEMO_TENANT_ID=$(demo_field 'account create' tenant_id "$json")
    DEMO_ACCOUNT_ID=$(demo_field 'account create' account_id "$json")

    json=$(sim_post /_sim/chatwoot/accounts '{"name":"Kanal Demo"}')
    DEMO_CHATWOOT_ACCOUNT=$(demo_field "the simulator's Chatwoot" id "$json")
    DEMO_CHATWOOT_TOKEN=$(demo_field "the simulator's Chatwoot" api_access_token "$json")
    json=$(sim_post /_sim/chatwoot/inboxes \
        "{\"account_id\":$DEMO_CHATWOOT_ACCOUNT,\"name\":\"WhatsApp $DEMO_TENANT\",\"webhook_url\":\"$CHATWOOT_BRIDGE_URL/webhook\"}")
    DEMO_INBOX=$(demo_field "the simulator's Chatwoot" id "$json")
    CHATWOOT_WEBHOOK_SECRET=$(demo_field "the simulator's Chatwoot" secret "$json")

    json=$(CHATWOOT_API_TOKEN=$DEMO_CHATWOOT_TOKEN CHATWOOT_WEBHOOK_SECRET=$CHATWOOT_WEBHOOK_SECRET \
        EXTRA_ENV='CHATWOOT_API_TOKEN CHATWOOT_WEBHOOK_SECRET' \
        demo_chore 'connecting the inbox' chatwoot-bridge inbox connect \
        --tenant "$DEMO_TENANT" --account "$DEMO_ACCOUNT_ID" --chatwoot-url "$SIMULATOR_URL/chatwoot" \
        --chatwoot-account "$DEMO_CHATWOOT_ACCOUNT" --inbox "$DEMO_INBOX")
    DEMO_INBOX_LINK_ID=$(demo_field 'inbox connect' inbox_link_id "$json")

    sim_post /_sim/wa/config '{"auto_receipts":true}' >/dev/null
}

# As shell lines, for people who want to go on by hand.
demo_lines() {
    local name
    for name in DEMO_TENANT DEMO_TENANT_ID DEMO_ACCOUNT_ID DEMO_SESSION_ID DEMO_SESSION_TOKEN DEMO_HMAC_KEY \
        DEMO_CHATWOOT_ACCOUNT DEMO_CHATWOOT_TOKEN DEMO_INBOX DEMO_INBOX_LINK_ID; do
        printf "export KANAL_%s='%s'\n" "$name" "${!name}"
    done
}
