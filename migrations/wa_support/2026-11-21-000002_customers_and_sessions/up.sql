-- Customers are the tenants of this service: `tenant_id` is what the wire calls `user_id`.
CREATE TABLE customers (
    tenant_id      text NOT NULL,
    source_service text NOT NULL,
    status         text NOT NULL DEFAULT 'active',
    created_at     timestamptz NOT NULL DEFAULT now(),
    updated_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id)
);
CREATE INDEX customers_source ON customers (source_service, created_at);
SELECT keep_tenants_apart('customers');

-- What a customer has paid for, at most once per provider. No messages allowed means no limit.
CREATE TABLE subscriptions (
    tenant_id    text NOT NULL REFERENCES customers ON DELETE CASCADE,
    id           uuid NOT NULL,
    provider     text NOT NULL,
    status       text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'expired', 'inactive')),
    expires_at   timestamptz NOT NULL,
    max_sessions integer NOT NULL DEFAULT 1 CHECK (max_sessions > 0),
    max_messages bigint NOT NULL DEFAULT 0,
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, provider)
);
SELECT keep_tenants_apart('subscriptions');

-- A user of the WA server. `session_id` is its id there, unknown until it was made. The token is found by its hash
-- (directory kind `session_token`); names are unique over all customers (directory kind `session_name`), because
-- webhooks carry them.
CREATE TABLE sessions (
    tenant_id       text NOT NULL REFERENCES customers ON DELETE CASCADE,
    id              uuid NOT NULL,
    provider        text NOT NULL,
    session_id      text,
    session_name    text NOT NULL,
    token_hash      text NOT NULL,
    token_sealed    text NOT NULL,
    hmac_key_sealed text NOT NULL,
    webhook_url     text,
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, session_name),
    UNIQUE (tenant_id, session_id)
);
SELECT keep_tenants_apart('sessions');
