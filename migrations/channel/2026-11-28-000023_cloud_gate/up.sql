-- Ids in digits, as clients of Meta's Cloud API expect them: fifteen of them, always the same for the same thing.
CREATE FUNCTION gate_digits(thing text) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT '1' || lpad(((('x' || substr(md5(thing), 1, 15))::bit(60)::bigint) % 100000000000000)::text, 14, '0')
$$;

-- What an account that Meta has given no phone number id is called at the gate. Looked up within a tenant only.
ALTER TABLE accounts ADD COLUMN gate_number text NOT NULL GENERATED ALWAYS AS (gate_digits('number:' || id::text)) STORED;
CREATE INDEX accounts_gate_number ON accounts (tenant_id, gate_number);

-- Who may use the gate. Only the hash of a token is kept: whoever reads this table cannot use one.
CREATE TABLE gate_tokens (
    tenant_id  text NOT NULL,
    id         uuid NOT NULL,
    name       text NOT NULL,
    token_hash bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    created_by text NOT NULL,
    PRIMARY KEY (tenant_id, id)
);
CREATE UNIQUE INDEX gate_tokens_hash ON gate_tokens (token_hash);
SELECT keep_tenants_apart('gate_tokens');

-- Files that clients of the gate put up, to be sent. Their ids in the gate are their uuids written in decimal.
CREATE TABLE gate_media (
    tenant_id  text NOT NULL,
    id         uuid NOT NULL,
    account_id uuid NOT NULL,
    file_name  text,
    mime_type  text NOT NULL,
    size       bigint NOT NULL,
    sha256     text NOT NULL,
    object_key text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, account_id) REFERENCES accounts (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX gate_media_objects ON gate_media (tenant_id, object_key);
CREATE INDEX gate_media_of_account ON gate_media (tenant_id, account_id);
CREATE INDEX gate_media_age ON gate_media (expires_at);
SELECT keep_tenants_apart('gate_media');
CREATE TRIGGER gate_object_is_garbage AFTER DELETE ON gate_media
    FOR EACH ROW EXECUTE FUNCTION throw_object_away();

-- Where a tenant wants to be told in Meta's words, for all of its numbers or for one, which then goes before.
CREATE TABLE gate_subscriptions (
    tenant_id           text NOT NULL,
    id                  uuid NOT NULL,
    account_id          uuid,
    callback_url        text NOT NULL,
    app_secret_sealed   text NOT NULL,
    verify_token_sealed text NOT NULL,
    created_at          timestamptz NOT NULL DEFAULT now(),
    updated_at          timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, account_id) REFERENCES accounts (tenant_id, id) ON DELETE CASCADE
);
CREATE UNIQUE INDEX gate_subscriptions_of_account ON gate_subscriptions (tenant_id, account_id) WHERE account_id IS NOT NULL;
CREATE UNIQUE INDEX gate_subscriptions_of_tenant ON gate_subscriptions (tenant_id) WHERE account_id IS NULL;
SELECT keep_tenants_apart('gate_subscriptions');
