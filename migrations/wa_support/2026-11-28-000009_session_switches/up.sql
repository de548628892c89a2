-- What a session's customer last asked for, connected or not, and what of this service's own doing may stand against it.
CREATE TABLE session_switches (
    tenant_id       text NOT NULL,
    session         uuid NOT NULL,
    -- How often its customer has connected or disconnected it, and which of both came last.
    asked           bigint NOT NULL DEFAULT 0,
    asked_on        boolean NOT NULL DEFAULT false,
    -- When this service last began to connect it. The WA server answers before a session runs.
    tried_at        timestamptz,
    -- It is to be taken off since then, and is tried next at that time. Both are empty once it is off, or its customer has
    -- connected it.
    off_since       timestamptz,
    off_next_try_at timestamptz,
    PRIMARY KEY (tenant_id, session),
    FOREIGN KEY (tenant_id, session) REFERENCES sessions ON DELETE CASCADE
);
CREATE INDEX session_switches_off_due ON session_switches (off_next_try_at) WHERE off_next_try_at IS NOT NULL;
SELECT keep_tenants_apart('session_switches');

-- What operators did that belongs to no customer: users of the WA server that no session has were removed. As with
-- `audit_log`, rows are only ever added.
CREATE TABLE operator_log (
    id      uuid PRIMARY KEY,
    at      timestamptz NOT NULL DEFAULT now(),
    actor   text NOT NULL,
    action  text NOT NULL,
    subject text,
    detail  text
);
CREATE TRIGGER operator_log_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON operator_log
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
