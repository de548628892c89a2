-- Who wrote, in chats of several people: groups, broadcast lists, status posts.
ALTER TABLE messages ADD COLUMN sender text;
ALTER TABLE messages ADD COLUMN sender_name text;

-- The message an edit, a deletion or a reaction is about. An edited or deleted message keeps its row: `content` is what it
-- said first, `body` what people read now.
ALTER TABLE messages ADD COLUMN target text;
ALTER TABLE messages ADD COLUMN edited_at timestamptz;
ALTER TABLE messages ADD COLUMN revoked_at timestamptz;
CREATE INDEX messages_about ON messages (tenant_id, account_id, target) WHERE target IS NOT NULL;

-- Which number is behind a hidden id, as far as an account has learned it. The row of an id whose number is not known is
-- what two messages wait for each other on, of which one brings the number.
CREATE TABLE contact_lids (
    tenant_id  text NOT NULL,
    account_id uuid NOT NULL,
    lid        text NOT NULL,
    phone      text,
    learned_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, account_id, lid),
    FOREIGN KEY (tenant_id, account_id) REFERENCES accounts (tenant_id, id) ON DELETE CASCADE
);
SELECT keep_tenants_apart('contact_lids');

-- What is known already, unless there are two chats still: then the next message that tells the number makes one of them.
ALTER TABLE chats NO FORCE ROW LEVEL SECURITY;
ALTER TABLE contact_lids NO FORCE ROW LEVEL SECURITY;
INSERT INTO contact_lids (tenant_id, account_id, lid, phone)
SELECT DISTINCT ON (c.tenant_id, c.account_id, c.lid) c.tenant_id, c.account_id, c.lid, c.phone
FROM chats c
WHERE c.lid IS NOT NULL AND c.phone IS NOT NULL
  AND NOT EXISTS (SELECT 1 FROM chats l WHERE l.tenant_id = c.tenant_id AND l.account_id = c.account_id
                     AND l.address = c.lid || '@lid')
ORDER BY c.tenant_id, c.account_id, c.lid, c.last_message_at DESC;
ALTER TABLE contact_lids FORCE ROW LEVEL SECURITY;
ALTER TABLE chats FORCE ROW LEVEL SECURITY;
