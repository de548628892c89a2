-- In which conversation a message goes that is no answer to an open one, and whose messages stay out of Chatwoot.
ALTER TABLE inboxes
    ADD COLUMN conversation_policy text NOT NULL DEFAULT 'reopen',
    ADD COLUMN ignored text[] NOT NULL DEFAULT '{}',
    ADD CONSTRAINT inboxes_conversation_policy CHECK (conversation_policy IN ('reopen', 'new', 'pending', 'single'));

-- Who the person is, whatever address they write from: the number's digits, else the address. And the name that we gave
-- the contact, as long as nobody chose another one; null: it is somebody's choice, or was not noted.
ALTER TABLE contacts
    ADD COLUMN canonical text,
    ADD COLUMN name_by_us text;
-- A role that makes schemas need not see through the policies: the owner does, while they are not forced on it.
ALTER TABLE contacts NO FORCE ROW LEVEL SECURITY;
UPDATE contacts SET canonical = CASE WHEN address LIKE '%@s.whatsapp.net' THEN split_part(address, '@', 1) ELSE address END;
ALTER TABLE contacts FORCE ROW LEVEL SECURITY;
CREATE INDEX contacts_canonical ON contacts (tenant_id, inbox_id, canonical);

-- One message may be several on the other side: a person's words and the file that came later, an agent's files.
ALTER TABLE message_links ADD COLUMN part smallint NOT NULL DEFAULT 0;
ALTER TABLE message_links DROP CONSTRAINT message_links_pkey;
ALTER TABLE message_links ADD PRIMARY KEY (tenant_id, account_id, provider_message_id, part);
-- Nothing forbade a message of Chatwoot's to be two until now.
ALTER TABLE message_links NO FORCE ROW LEVEL SECURITY;
UPDATE message_links m SET part = twice.number - 1 FROM (
    SELECT tenant_id, account_id, provider_message_id, row_number() OVER (
        PARTITION BY tenant_id, inbox_id, chatwoot_message_id ORDER BY created_at, provider_message_id) AS number
    FROM message_links WHERE chatwoot_message_id IS NOT NULL) twice
WHERE twice.number > 1 AND m.tenant_id = twice.tenant_id AND m.account_id = twice.account_id
  AND m.provider_message_id = twice.provider_message_id;
ALTER TABLE message_links FORCE ROW LEVEL SECURITY;
DROP INDEX message_links_chatwoot;
CREATE UNIQUE INDEX message_links_chatwoot ON message_links (tenant_id, inbox_id, chatwoot_message_id, part)
    WHERE chatwoot_message_id IS NOT NULL;
