-- Customer organisations. What names a tenant that is not in here names nobody.
CREATE TABLE tenants (
    tenant_id        text PRIMARY KEY,
    name             text NOT NULL,
    status           text NOT NULL DEFAULT 'active',
    session_limit    integer NOT NULL DEFAULT 1,
    auto_read        boolean NOT NULL DEFAULT true,
    typing_indicator boolean NOT NULL DEFAULT true,
    keep_groups      boolean NOT NULL DEFAULT false,
    keep_broadcasts  boolean NOT NULL DEFAULT false,
    keep_status      boolean NOT NULL DEFAULT false,
    created_at       timestamptz NOT NULL DEFAULT now(),
    updated_at       timestamptz NOT NULL DEFAULT now()
);
SELECT keep_tenants_apart('tenants');

-- Which channels a tenant has switched on. Without a row everything is on: the row is made by whoever sets it, never
-- by a number that was learned.
CREATE TABLE channel_accounts (
    tenant_id       text PRIMARY KEY,
    id              uuid NOT NULL,
    wa_number       text NOT NULL DEFAULT '',
    enabled_wa      boolean NOT NULL DEFAULT false,
    enabled_webchat boolean NOT NULL DEFAULT false,
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now()
);
SELECT keep_tenants_apart('channel_accounts');

-- An account may be without a session: before the first one, and after one was deleted. Its chats stay.
ALTER TABLE accounts ALTER COLUMN token_sealed DROP NOT NULL;
ALTER TABLE accounts ADD COLUMN last_connected_at timestamptz;

-- What the AI makes of a chat, and over which channel it runs.
ALTER TABLE chats ADD COLUMN channel text NOT NULL DEFAULT 'whatsapp';
ALTER TABLE chats ADD COLUMN ai_status text;
ALTER TABLE chats ADD COLUMN ai_error_message text;
ALTER TABLE chats ADD COLUMN pending_message_id text;
ALTER TABLE chats ADD COLUMN updated_at timestamptz NOT NULL DEFAULT now();
CREATE INDEX chats_newest ON chats (tenant_id, last_message_at DESC);
CREATE INDEX chats_of_phone ON chats (tenant_id, phone) WHERE phone IS NOT NULL;

-- A person has taken a chat over from the AI. At most one at a time has it.
CREATE TABLE takeovers (
    tenant_id  text NOT NULL,
    id         uuid NOT NULL,
    chat_id    uuid NOT NULL,
    admin_id   text NOT NULL,
    admin_name text,
    reason     text,
    started_at timestamptz NOT NULL DEFAULT now(),
    ended_at   timestamptz,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, chat_id) REFERENCES chats (tenant_id, id)
);
CREATE UNIQUE INDEX takeovers_active ON takeovers (tenant_id, chat_id) WHERE ended_at IS NULL;
CREATE INDEX takeovers_newest ON takeovers (tenant_id, started_at DESC);
SELECT keep_tenants_apart('takeovers');

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
