-- How the WhatsApp API servers are. No tenant's tables: an endpoint is named by the configuration and shared by whoever
-- is assigned to it. Tenants may read how it is; only the platform writes.
CREATE TABLE endpoint_health (
    endpoint        text PRIMARY KEY,
    status          text NOT NULL DEFAULT 'unknown',
    reason          text,
    latency_ms      bigint,
    -- Failures in a row.
    failures        integer NOT NULL DEFAULT 0,
    checked_at      timestamptz,
    changed_at      timestamptz NOT NULL DEFAULT now(),
    -- The episode: since when it is unhealthy without a pause, and when somebody was told.
    unhealthy_since timestamptz,
    alerted_at      timestamptz,
    -- Whoever moves this forward has the check that was due; the fence says whose result counts.
    check_at        timestamptz NOT NULL DEFAULT now(),
    fence           bigint NOT NULL DEFAULT 0
);
ALTER TABLE endpoint_health ENABLE ROW LEVEL SECURITY;
ALTER TABLE endpoint_health FORCE ROW LEVEL SECURITY;
CREATE POLICY anybody_reads ON endpoint_health FOR SELECT TO channel_tenant USING (true);
CREATE POLICY platform_work ON endpoint_health TO channel_platform USING (true) WITH CHECK (true);

-- What each check found, bounded in age and number.
CREATE TABLE endpoint_checks (
    endpoint   text NOT NULL,
    seq        bigint GENERATED ALWAYS AS IDENTITY,
    at         timestamptz NOT NULL DEFAULT now(),
    status     text NOT NULL,
    reason     text,
    latency_ms bigint,
    PRIMARY KEY (endpoint, seq)
);
CREATE INDEX endpoint_checks_age ON endpoint_checks (at);
ALTER TABLE endpoint_checks ENABLE ROW LEVEL SECURITY;
ALTER TABLE endpoint_checks FORCE ROW LEVEL SECURITY;
CREATE POLICY platform_work ON endpoint_checks TO channel_platform USING (true) WITH CHECK (true);

-- What the operators' webhook is told: one row when an episode turned into an alert, one when it was over. Rows that are
-- not told yet have a time for the next try.
CREATE TABLE endpoint_alerts (
    id         uuid PRIMARY KEY,
    endpoint   text NOT NULL,
    kind       text NOT NULL,
    reason     text,
    since      timestamptz NOT NULL,
    at         timestamptz NOT NULL DEFAULT now(),
    attempts   integer NOT NULL DEFAULT 0,
    try_at     timestamptz,
    told_at    timestamptz,
    last_error text
);
CREATE INDEX endpoint_alerts_due ON endpoint_alerts (try_at) WHERE try_at IS NOT NULL;
CREATE INDEX endpoint_alerts_age ON endpoint_alerts (at);
ALTER TABLE endpoint_alerts ENABLE ROW LEVEL SECURITY;
ALTER TABLE endpoint_alerts FORCE ROW LEVEL SECURITY;
CREATE POLICY platform_work ON endpoint_alerts TO channel_platform USING (true) WITH CHECK (true);

-- Sessions that are looked after: brought back when they drop, attached anew when they go deaf.
CREATE TABLE session_watch (
    tenant_id     text NOT NULL,
    account_id    uuid NOT NULL,
    -- A person took it off the network or unlinked it: it stays so until a person connects it.
    kept_off      boolean NOT NULL DEFAULT false,
    -- When it is looked at next, and by whom it is held meanwhile: the fence says whose findings count.
    look_at       timestamptz NOT NULL DEFAULT now(),
    held_until    timestamptz,
    fence         bigint NOT NULL DEFAULT 0,
    -- The outage: since when, how often it was tried, when it is tried next, and why it is not tried any more.
    down_since    timestamptz,
    attempts      integer NOT NULL DEFAULT 0,
    try_at        timestamptz,
    gave_up       text,
    -- When an event of it last came in, and the first accepted send after which none came.
    heard_at      timestamptz,
    spoke_at      timestamptz,
    -- Since when and by what it is held for deaf, and what was done about it.
    deaf_since    timestamptz,
    deaf_reason   text,
    reattached_at timestamptz,
    reattachments integer NOT NULL DEFAULT 0,
    created_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, account_id),
    FOREIGN KEY (tenant_id, account_id) REFERENCES accounts (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX session_watch_due ON session_watch (look_at);
SELECT keep_tenants_apart('session_watch');

-- However an account comes to its session, the session is watched from then on, and whoever notes that its state changed
-- has it looked at soon. What follows from it is not decided here.
CREATE FUNCTION watch_session() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.token_sealed IS NULL THEN
        DELETE FROM session_watch WHERE tenant_id = NEW.tenant_id AND account_id = NEW.id;
    ELSIF TG_OP = 'INSERT' OR NEW.token_sealed IS DISTINCT FROM OLD.token_sealed THEN
        INSERT INTO session_watch (tenant_id, account_id) VALUES (NEW.tenant_id, NEW.id)
        ON CONFLICT (tenant_id, account_id) DO UPDATE SET look_at = now();
    ELSIF NEW.status IS DISTINCT FROM OLD.status THEN
        UPDATE session_watch SET look_at = least(look_at, now())
         WHERE tenant_id = NEW.tenant_id AND account_id = NEW.id;
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER accounts_watch_session AFTER INSERT OR UPDATE OF token_sealed, status ON accounts
    FOR EACH ROW EXECUTE FUNCTION watch_session();

-- The sessions there are. A migrating role that is no superuser sees no tenant's rows while row-level security binds
-- the owner too.
ALTER TABLE accounts NO FORCE ROW LEVEL SECURITY;
ALTER TABLE session_watch NO FORCE ROW LEVEL SECURITY;
INSERT INTO session_watch (tenant_id, account_id, look_at)
SELECT tenant_id, id, now() + random() * interval '5 minutes' FROM accounts WHERE token_sealed IS NOT NULL;
ALTER TABLE accounts FORCE ROW LEVEL SECURITY;
ALTER TABLE session_watch FORCE ROW LEVEL SECURITY;
