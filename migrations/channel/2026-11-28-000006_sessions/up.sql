-- Who made an account's session, and so who can take it away: the gateway, the WhatsApp server's administration, or
-- nobody (a dry run). Null: it was registered by hand.
ALTER TABLE accounts ADD COLUMN session_via text;
ALTER TABLE accounts ADD COLUMN session_created_at timestamptz;
-- Who else holds a number.
CREATE INDEX accounts_of_phone ON accounts (phone) WHERE phone IS NOT NULL AND token_sealed IS NOT NULL;

-- A session that is being made: written before anybody outside hears of it, gone when the account has it. What is still
-- here after a crash or a refusal is finished or taken back. The name is how it is found again at the gateway, the token
-- how it is found at the WhatsApp server.
CREATE TABLE session_intents (
    tenant_id    text PRIMARY KEY,
    account_id   uuid NOT NULL,
    session_name text NOT NULL,
    via          text NOT NULL,
    token_sealed text NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    FOREIGN KEY (tenant_id, account_id) REFERENCES accounts (tenant_id, id)
);
SELECT keep_tenants_apart('session_intents');

-- Who makes or removes a tenant's session at the moment. Ends by itself when its holder dies.
CREATE TABLE session_leases (
    tenant_id text PRIMARY KEY,
    holder    uuid NOT NULL,
    until     timestamptz NOT NULL
);
SELECT keep_tenants_apart('session_leases');

-- The tenant as a customer of wa-support-gateway. The gateway shows the key once.
CREATE TABLE support_customers (
    tenant_id  text PRIMARY KEY,
    key_sealed text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
SELECT keep_tenants_apart('support_customers');
