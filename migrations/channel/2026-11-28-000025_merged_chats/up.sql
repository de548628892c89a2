-- Chats that turned out to be another one of the same account: whoever was told of the old one still means it.
CREATE TABLE merged_chats (
    tenant_id text NOT NULL,
    merged_id uuid NOT NULL,
    chat_id   uuid NOT NULL,
    merged_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, merged_id),
    FOREIGN KEY (tenant_id, chat_id) REFERENCES chats (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX merged_chats_into ON merged_chats (tenant_id, chat_id);
SELECT keep_tenants_apart('merged_chats');
