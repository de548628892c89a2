-- Tenants are found by the beginnings of words of their ids and names; what is no letter or digit parts words.
CREATE INDEX tenants_words ON tenants USING gin
    (to_tsvector('simple', regexp_replace(lower(tenant_id || ' ' || name), '[^[:alnum:]]+', ' ', 'g')));

-- Users likewise.
CREATE INDEX users_words ON users USING gin
    (to_tsvector('simple', regexp_replace(lower(email || ' ' || coalesce(name, '') || ' ' || coalesce(works_for, '')), '[^[:alnum:]]+', ' ', 'g')));

-- Acts of all tenants, the newest first, also those of one actor or of one kind.
CREATE INDEX audit_log_newest ON audit_log (id);
CREATE INDEX audit_log_of_actor ON audit_log (actor, id);
CREATE INDEX audit_log_of_action ON audit_log (action, id);

-- Acts that are about no tenant: who may use the dashboard.
CREATE TABLE platform_acts (
    id      uuid PRIMARY KEY,
    at      timestamptz NOT NULL DEFAULT now(),
    actor   text NOT NULL,
    action  text NOT NULL,
    subject text,
    detail  text,
    source  text
);
CREATE INDEX platform_acts_of_actor ON platform_acts (actor, id);
CREATE INDEX platform_acts_of_action ON platform_acts (action, id);
ALTER TABLE platform_acts ENABLE ROW LEVEL SECURITY;
ALTER TABLE platform_acts FORCE ROW LEVEL SECURITY;
CREATE POLICY platform_work ON platform_acts TO channel_platform USING (true) WITH CHECK (true);
CREATE TRIGGER platform_acts_are_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON platform_acts
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
