-- Who did what to whose routes, when and from where. Rows are added and never changed, and outlive what they tell of.
CREATE TABLE audit_log (
    tenant_id text NOT NULL,
    id        uuid NOT NULL,
    at        timestamptz NOT NULL DEFAULT now(),
    actor     text NOT NULL,
    action    text NOT NULL,
    subject   text,
    detail    text,
    source    text,
    PRIMARY KEY (tenant_id, id)
);
SELECT keep_tenants_apart('audit_log');
CREATE INDEX audit_log_newest ON audit_log (id);
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'rows of % are only ever added', TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
END
$$;
CREATE TRIGGER audit_log_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- Where Chatwoot sends a route's events, as it was found last, and whether we may put that right by ourselves.
CREATE TABLE drift_reports (
    tenant_id    text NOT NULL,
    route_id     uuid NOT NULL,
    auto_restore boolean NOT NULL DEFAULT false,
    state        text,
    -- The address that was found in the place of ours, without what is secret in it.
    found        text,
    checked_at   timestamptz,
    since        timestamptz,
    PRIMARY KEY (tenant_id, route_id),
    FOREIGN KEY (tenant_id, route_id) REFERENCES routes (tenant_id, id) ON DELETE CASCADE
);
SELECT keep_tenants_apart('drift_reports');

-- Test messages that we made in Chatwoot, and whose webhook is waited for.
CREATE TABLE set_up_probes (
    tenant_id  text NOT NULL,
    nonce      text NOT NULL,
    route_id   uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    arrived_at timestamptz,
    PRIMARY KEY (tenant_id, nonce)
);
SELECT keep_tenants_apart('set_up_probes');
CREATE INDEX set_up_probes_age ON set_up_probes (created_at);
