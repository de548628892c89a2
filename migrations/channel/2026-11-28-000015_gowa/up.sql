-- A provider that makes the ids of messages itself tells them when it answers. From then on a message goes by that id; this
-- is the one it was ordered under, by which whoever ordered it may still name it.
ALTER TABLE messages ADD COLUMN ordered_as text;
CREATE INDEX messages_ordered_as ON messages (tenant_id, account_id, ordered_as) WHERE ordered_as IS NOT NULL;

-- Receipts that came before the answer that tells which message they are about. The row is also what the two wait for each
-- other on.
CREATE TABLE early_receipts (
    tenant_id           text NOT NULL,
    account_id          uuid NOT NULL,
    provider_message_id text NOT NULL,
    status              text NOT NULL,
    at                  timestamptz NOT NULL,
    received_at         timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, account_id, provider_message_id),
    FOREIGN KEY (tenant_id, account_id) REFERENCES accounts (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX early_receipts_age ON early_receipts USING brin (received_at);
SELECT keep_tenants_apart('early_receipts');
