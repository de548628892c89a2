-- A tenant's senders. Credentials are sealed by the service; no key of an endpoint is ever in a table.
CREATE TABLE accounts (
    tenant_id           text NOT NULL,
    id                  uuid NOT NULL,
    provider            text NOT NULL,
    endpoint            text NOT NULL,
    instance_name       text NOT NULL,
    session_id          text,
    phone               text,
    status              text NOT NULL DEFAULT 'unknown',
    token_sealed        text NOT NULL,
    webhook_keys_sealed text[] NOT NULL DEFAULT '{}',
    created_at          timestamptz NOT NULL DEFAULT now(),
    updated_at          timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, instance_name)
);
SELECT keep_tenants_apart('accounts');

-- The conversation of one account with one person.
CREATE TABLE chats (
    tenant_id       text NOT NULL,
    id              uuid NOT NULL,
    account_id      uuid NOT NULL,
    address         text NOT NULL,
    phone           text,
    lid             text,
    name            text,
    last_message_at timestamptz NOT NULL,
    last_text       text NOT NULL,
    unread          integer NOT NULL DEFAULT 0,
    created_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, account_id, address),
    FOREIGN KEY (tenant_id, account_id) REFERENCES accounts (tenant_id, id)
);
SELECT keep_tenants_apart('chats');

CREATE TABLE messages (
    tenant_id           text NOT NULL,
    id                  uuid NOT NULL,
    account_id          uuid NOT NULL,
    chat_id             uuid NOT NULL,
    direction           text NOT NULL,
    source              text NOT NULL,
    provider_message_id text NOT NULL,
    kind                text NOT NULL,
    body                text NOT NULL,
    content             text NOT NULL,
    quoted              text,
    sent_at             timestamptz NOT NULL,
    status              text NOT NULL,
    reason              text,
    reference           text,
    created_at          timestamptz NOT NULL DEFAULT now(),
    updated_at          timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, account_id, provider_message_id),
    FOREIGN KEY (tenant_id, chat_id) REFERENCES chats (tenant_id, id)
);
CREATE INDEX messages_of_chat ON messages (tenant_id, chat_id, sent_at);
SELECT keep_tenants_apart('messages');

-- Which messages were accepted before. Apart from the messages, so that deleting one does not let it in again.
CREATE TABLE inbound_ledger (
    tenant_id           text NOT NULL,
    account_id          uuid NOT NULL,
    provider_message_id text NOT NULL,
    message_id          uuid NOT NULL,
    received_at         timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, account_id, provider_message_id)
);
CREATE INDEX inbound_ledger_age ON inbound_ledger USING brin (received_at);
SELECT keep_tenants_apart('inbound_ledger');

-- Orders to send that were taken before, by whatever id the one who asked had chosen.
CREATE TABLE send_requests (
    tenant_id   text NOT NULL,
    request_id  uuid NOT NULL,
    message_id  uuid NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, request_id)
);
CREATE INDEX send_requests_age ON send_requests USING brin (received_at);
SELECT keep_tenants_apart('send_requests');

-- Each call to a provider for a message, and what came of it.
CREATE TABLE send_attempts (
    tenant_id  text NOT NULL,
    message_id uuid NOT NULL,
    seq        bigint GENERATED ALWAYS AS IDENTITY,
    outcome    text NOT NULL,
    reason     text,
    detail     text,
    took_ms    bigint NOT NULL,
    at         timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, message_id, seq)
);
SELECT keep_tenants_apart('send_attempts');

-- Events of a known account whose kind nobody here understands, as they came.
CREATE TABLE provider_events (
    tenant_id   text NOT NULL,
    id          uuid NOT NULL,
    account_id  uuid NOT NULL,
    type_name   text NOT NULL,
    payload     text NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, id)
);
SELECT keep_tenants_apart('provider_events');

-- Webhooks that belong to no tenant, or that cannot be used: for people to look at. No tenant's table.
CREATE TABLE quarantine (
    id          uuid PRIMARY KEY,
    reason      text NOT NULL,
    provider    text NOT NULL,
    instance    text,
    body        bytea NOT NULL,
    body_size   bigint NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now()
);
-- Bodies of whoever called: no tenant may see any of it.
ALTER TABLE quarantine ENABLE ROW LEVEL SECURITY;
ALTER TABLE quarantine FORCE ROW LEVEL SECURITY;
CREATE POLICY platform_work ON quarantine TO channel_platform USING (true) WITH CHECK (true);
