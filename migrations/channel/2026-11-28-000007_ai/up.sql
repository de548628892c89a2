-- What became of a person's message on the way to the AI: `handed_over`, or why it is not answered by it. Empty while
-- that is not decided, and for messages that came before there was an AI.
ALTER TABLE messages ADD COLUMN ai_handling text;

-- Messages that the AI has and has not answered.
CREATE TABLE pending_messages (
    tenant_id           text NOT NULL,
    message_id          uuid NOT NULL,
    provider_message_id text NOT NULL,
    state               text NOT NULL DEFAULT 'processing',
    retry_count         integer NOT NULL DEFAULT 0,
    error               text,
    received_at         timestamptz NOT NULL DEFAULT now(),
    updated_at          timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, message_id),
    FOREIGN KEY (tenant_id, message_id) REFERENCES messages (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX pending_messages_of_provider ON pending_messages (tenant_id, provider_message_id);
CREATE INDEX pending_messages_age ON pending_messages USING brin (received_at);
SELECT keep_tenants_apart('pending_messages');

-- Answers of the AI that were taken, so that each goes out once however often the broker brings it.
CREATE TABLE ai_replies (
    tenant_id   text NOT NULL,
    key         text NOT NULL,
    message_ids text[] NOT NULL,
    state       text NOT NULL DEFAULT 'queued',
    reason      text,
    received_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, key)
);
CREATE INDEX ai_replies_age ON ai_replies USING brin (received_at);
SELECT keep_tenants_apart('ai_replies');
