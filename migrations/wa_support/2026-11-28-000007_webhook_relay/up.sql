-- What must reach the broker. Rows leave when their publication is confirmed; `parked` says why one never can be.
CREATE TABLE outbox (
    tenant_id  text NOT NULL,
    seq        bigint GENERATED ALWAYS AS IDENTITY,
    lane       text NOT NULL,
    event_id   uuid NOT NULL,
    event_type text NOT NULL,
    envelope   text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    parked     text,
    PRIMARY KEY (tenant_id, seq)
);
CREATE INDEX outbox_order ON outbox (seq);
SELECT keep_tenants_apart('outbox');

-- Orders of work. `ready_at` is null while a lane has nothing to do. A lane with nothing to do is forgotten, and made
-- again when it is used again: its fence then begins at the clock, above every number its predecessor gave away.
CREATE TABLE lanes (
    tenant_id    text NOT NULL,
    lane         text NOT NULL,
    ready_at     timestamptz,
    leased_until timestamptz,
    fence        bigint NOT NULL DEFAULT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint,
    PRIMARY KEY (tenant_id, lane)
);
CREATE INDEX lanes_ready ON lanes (ready_at) WHERE ready_at IS NOT NULL;
SELECT keep_tenants_apart('lanes');

-- The work in them, done in the order of `seq`. Parked tasks stay for people.
CREATE TABLE lane_tasks (
    tenant_id  text NOT NULL,
    id         uuid NOT NULL,
    lane       text NOT NULL,
    seq        bigint GENERATED ALWAYS AS IDENTITY,
    kind       text NOT NULL,
    payload    text NOT NULL,
    begun      integer NOT NULL DEFAULT 0,
    failures   integer NOT NULL DEFAULT 0,
    parked     boolean NOT NULL DEFAULT false,
    last_error text,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, id)
);
CREATE INDEX lane_tasks_order ON lane_tasks (tenant_id, lane, seq) WHERE NOT parked;
CREATE INDEX lane_tasks_parked ON lane_tasks (tenant_id, created_at) WHERE parked;
SELECT keep_tenants_apart('lane_tasks');

-- Events of the WA server on their way to the customer, byte for byte. The id is that of the task that delivers it; the
-- row leaves with the delivery, or when it is too old.
CREATE TABLE hook_events (
    tenant_id    text NOT NULL,
    id           uuid NOT NULL,
    session      uuid NOT NULL,
    content_type text,
    event_type   text NOT NULL,
    body         bytea NOT NULL,
    received_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, session) REFERENCES sessions ON DELETE CASCADE
);
-- Short-lived, and mostly base64 when it is large: packing it would only cost time.
ALTER TABLE hook_events ALTER COLUMN body SET STORAGE EXTERNAL;
CREATE INDEX hook_events_age ON hook_events (received_at);
CREATE INDEX hook_events_session ON hook_events (tenant_id, session);
SELECT keep_tenants_apart('hook_events');

-- What became of a session's events: accepted = delivered + dropped + expired + held. `held_bytes` bounds the queue.
CREATE TABLE hook_counts (
    tenant_id  text NOT NULL,
    session    uuid NOT NULL,
    accepted   bigint NOT NULL DEFAULT 0,
    delivered  bigint NOT NULL DEFAULT 0,
    dropped    bigint NOT NULL DEFAULT 0,
    expired    bigint NOT NULL DEFAULT 0,
    held       bigint NOT NULL DEFAULT 0,
    held_bytes bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant_id, session),
    FOREIGN KEY (tenant_id, session) REFERENCES sessions ON DELETE CASCADE
);
SELECT keep_tenants_apart('hook_counts');

-- However a session comes to be, its hook (directory kind `session_hook`) leads to it, and whatever it is removed by
-- takes its lanes along: lanes first, as everybody who holds both takes them.
CREATE FUNCTION open_session_hook() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO tenant_directory (kind, external_id, tenant_id, subject_id)
    VALUES ('session_hook', NEW.id::text, NEW.tenant_id, NEW.id) ON CONFLICT DO NOTHING;
    RETURN NULL;
END
$$;
CREATE FUNCTION close_session_hook() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM lanes WHERE tenant_id = OLD.tenant_id AND lane IN ('hook:' || OLD.id, 'read:' || OLD.id);
    DELETE FROM lane_tasks WHERE tenant_id = OLD.tenant_id AND lane IN ('hook:' || OLD.id, 'read:' || OLD.id);
    DELETE FROM tenant_directory WHERE kind = 'session_hook' AND external_id = OLD.id::text;
    RETURN OLD;
END
$$;
CREATE TRIGGER sessions_open_hook AFTER INSERT ON sessions FOR EACH ROW EXECUTE FUNCTION open_session_hook();
CREATE TRIGGER sessions_close_hook BEFORE DELETE ON sessions FOR EACH ROW EXECUTE FUNCTION close_session_hook();

-- The sessions there are. A migrating role that is no superuser sees no tenant's rows while row-level security binds
-- the owner too.
ALTER TABLE sessions NO FORCE ROW LEVEL SECURITY;
ALTER TABLE tenant_directory NO FORCE ROW LEVEL SECURITY;
INSERT INTO tenant_directory (kind, external_id, tenant_id, subject_id)
SELECT 'session_hook', id::text, tenant_id, id FROM sessions ON CONFLICT DO NOTHING;
ALTER TABLE sessions FORCE ROW LEVEL SECURITY;
ALTER TABLE tenant_directory FORCE ROW LEVEL SECURITY;
