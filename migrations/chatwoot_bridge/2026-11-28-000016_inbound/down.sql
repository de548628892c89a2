DROP INDEX message_links_chatwoot;
ALTER TABLE message_links NO FORCE ROW LEVEL SECURITY;
DELETE FROM message_links WHERE part > 0;
ALTER TABLE message_links FORCE ROW LEVEL SECURITY;
ALTER TABLE message_links DROP CONSTRAINT message_links_pkey;
ALTER TABLE message_links ADD PRIMARY KEY (tenant_id, account_id, provider_message_id);
ALTER TABLE message_links DROP COLUMN part;
CREATE INDEX message_links_chatwoot ON message_links (tenant_id, inbox_id, chatwoot_message_id)
    WHERE chatwoot_message_id IS NOT NULL;
DROP INDEX contacts_canonical;
ALTER TABLE contacts DROP COLUMN canonical, DROP COLUMN name_by_us;
ALTER TABLE inboxes
    DROP CONSTRAINT inboxes_conversation_policy,
    DROP COLUMN conversation_policy,
    DROP COLUMN ignored;
