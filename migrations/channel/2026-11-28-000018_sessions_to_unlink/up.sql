-- Sessions that their tenant has left and that are still to be unlinked where they are: written in the transaction that
-- moves the tenant, gone when the session is gone there, is used again, or was given up.
CREATE TABLE sessions_to_unlink (
    tenant_id    text NOT NULL,
    id           uuid NOT NULL,
    endpoint     text NOT NULL CHECK (endpoint ~ '^[A-Za-z0-9_-]{1,64}$'),
    provider     text NOT NULL,
    session_name text NOT NULL,
    -- The server's id of it. Null: it was begun and perhaps never made, and is looked for by name or token.
    session_id   text,
    session_via  text,
    -- Null: it did not open when the session was left.
    token_sealed text,
    tries        integer NOT NULL DEFAULT 0,
    next_try     timestamptz NOT NULL,
    last_reason  text,
    left_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, id)
);
CREATE INDEX sessions_to_unlink_due ON sessions_to_unlink (next_try);
SELECT keep_tenants_apart('sessions_to_unlink');
