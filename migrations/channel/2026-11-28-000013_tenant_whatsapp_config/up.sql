-- Which endpoint a tenant's devices are made on, and how it is used for them. An endpoint is named here and nowhere
-- described: the check on the name lets no URL and no key in. Times are in seconds.
CREATE TABLE tenant_whatsapp_config (
    tenant_id             text PRIMARY KEY REFERENCES tenants (tenant_id),
    id                    uuid NOT NULL,
    endpoint_name         text NOT NULL CHECK (endpoint_name ~ '^[A-Za-z0-9_-]{1,64}$'),
    auto_reconnect        boolean NOT NULL DEFAULT true,
    reconnect_interval    integer NOT NULL DEFAULT 30 CHECK (reconnect_interval BETWEEN 1 AND 3600),
    health_check_interval integer NOT NULL DEFAULT 60 CHECK (health_check_interval BETWEEN 1 AND 3600),
    webhook_retries       integer NOT NULL DEFAULT 3 CHECK (webhook_retries BETWEEN 0 AND 20),
    message_timeout       integer NOT NULL DEFAULT 30 CHECK (message_timeout BETWEEN 1 AND 120),
    created_at            timestamptz NOT NULL DEFAULT now(),
    updated_at            timestamptz NOT NULL DEFAULT now()
);
SELECT keep_tenants_apart('tenant_whatsapp_config');

-- When the account was last bound to another endpoint. Null: it is where it was made.
ALTER TABLE accounts ADD COLUMN moved_at timestamptz;

-- Through which endpoint a call went. Null: made before there was more than `Primary`.
ALTER TABLE send_attempts ADD COLUMN endpoint text;
