-- Customers: who made them, and whether they may do anything.
ALTER TABLE customers ADD COLUMN created_by text NOT NULL DEFAULT '';
ALTER TABLE customers ADD CONSTRAINT customers_status CHECK (status IN ('active', 'suspended'));
CREATE INDEX customers_newest ON customers (created_at DESC, tenant_id);

-- A customer's keys. The directory (kind `api_key`) leads from the hash to the row. One key is in use; one that was
-- replaced is good until `valid_until`.
CREATE TABLE api_keys (
    tenant_id   text NOT NULL REFERENCES customers ON DELETE CASCADE,
    id          uuid NOT NULL,
    key_hash    text NOT NULL,
    -- The first characters, by which people tell keys apart.
    prefix      text NOT NULL,
    valid_until timestamptz,
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, key_hash)
);
CREATE UNIQUE INDEX api_keys_in_use ON api_keys (tenant_id) WHERE valid_until IS NULL;
CREATE INDEX api_keys_ending ON api_keys (valid_until) WHERE valid_until IS NOT NULL;
SELECT keep_tenants_apart('api_keys');

-- Sends are counted from `period_started_at`; a renewal begins a new period. `number` is the id of the wire.
ALTER TABLE subscriptions ADD COLUMN number bigint GENERATED ALWAYS AS IDENTITY;
ALTER TABLE subscriptions ADD COLUMN period_started_at timestamptz NOT NULL DEFAULT now();
ALTER TABLE subscriptions ADD COLUMN messages_used bigint NOT NULL DEFAULT 0 CHECK (messages_used >= 0);
CREATE INDEX subscriptions_ending ON subscriptions (expires_at) WHERE status = 'active';

-- A session between its intent and its end. While `creating` the WA server may or may not know it; while `removing` it
-- may know it still. A sweep finishes both.
ALTER TABLE sessions ADD COLUMN number bigint GENERATED ALWAYS AS IDENTITY;
ALTER TABLE sessions ADD COLUMN phase text NOT NULL DEFAULT 'ready' CHECK (phase IN ('creating', 'ready', 'removing'));
ALTER TABLE sessions ADD COLUMN phase_since timestamptz NOT NULL DEFAULT now();
ALTER TABLE sessions ADD COLUMN events text NOT NULL DEFAULT 'All';
ALTER TABLE sessions ADD COLUMN history integer NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN expiration_sec bigint NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN auto_read_enabled boolean NOT NULL DEFAULT false;
ALTER TABLE sessions ADD COLUMN typing_enabled boolean NOT NULL DEFAULT false;
ALTER TABLE sessions ADD COLUMN connected boolean NOT NULL DEFAULT false;
ALTER TABLE sessions ADD COLUMN logged_in boolean NOT NULL DEFAULT false;
ALTER TABLE sessions ADD COLUMN jid text NOT NULL DEFAULT '';
ALTER TABLE sessions ADD COLUMN status text NOT NULL DEFAULT 'created';
ALTER TABLE sessions ADD COLUMN last_synced_at timestamptz;
ALTER TABLE sessions ADD COLUMN last_activity_at timestamptz;
ALTER TABLE sessions ADD COLUMN sent_total bigint NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN failed_total bigint NOT NULL DEFAULT 0;
CREATE INDEX sessions_unfinished ON sessions (phase_since) WHERE phase <> 'ready';

-- What was sent, per kind and day of business.
CREATE TABLE message_usage (
    tenant_id    text NOT NULL REFERENCES customers ON DELETE CASCADE,
    session      uuid NOT NULL,
    day          date NOT NULL,
    message_type text NOT NULL,
    sent         bigint NOT NULL DEFAULT 0,
    failed       bigint NOT NULL DEFAULT 0,
    last_sent_at   timestamptz,
    last_failed_at timestamptz,
    PRIMARY KEY (tenant_id, session, day, message_type),
    FOREIGN KEY (tenant_id, session) REFERENCES sessions ON DELETE CASCADE
);
SELECT keep_tenants_apart('message_usage');

-- People a session knows. One that the WA server no longer lists is marked and kept.
CREATE TABLE contacts (
    tenant_id      text NOT NULL REFERENCES customers ON DELETE CASCADE,
    session        uuid NOT NULL,
    jid            text NOT NULL,
    number         bigint GENERATED ALWAYS AS IDENTITY,
    name           text NOT NULL DEFAULT '',
    phone          text NOT NULL DEFAULT '',
    raw            jsonb NOT NULL,
    removed_at     timestamptz,
    last_synced_at timestamptz NOT NULL DEFAULT now(),
    created_at     timestamptz NOT NULL DEFAULT now(),
    updated_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, session, jid),
    FOREIGN KEY (tenant_id, session) REFERENCES sessions ON DELETE CASCADE
);
CREATE INDEX contacts_by_name ON contacts (tenant_id, session, name, jid);
SELECT keep_tenants_apart('contacts');

-- Who did what to whose things, when and from where. Rows are added and never changed, and outlive what they tell of.
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
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'rows of % are only ever added', TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
END
$$;
CREATE TRIGGER audit_log_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- Which process does a thing that only one may do at a time.
CREATE TABLE leases (
    name   text PRIMARY KEY,
    holder uuid NOT NULL,
    until  timestamptz NOT NULL
);
