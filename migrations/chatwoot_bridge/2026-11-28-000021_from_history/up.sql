-- What Chatwoot writes by itself after a message that was imported answers nobody: whether a message was, is noted with it.
-- Such links are kept for good, so that a second import knows what the first one brought.
-- `settled_at`: until then the one who asked may still be at it, and the message may be on its way unseen.
-- `file_follows`: the words promise a file that comes later.
ALTER TABLE message_links
    ADD COLUMN from_history boolean NOT NULL DEFAULT false,
    ADD COLUMN settled_at timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN file_follows boolean NOT NULL DEFAULT false;
CREATE INDEX message_links_conversation ON message_links (tenant_id, inbox_id, chatwoot_conversation_id, created_at DESC)
    WHERE direction = 'inbound';
DROP INDEX message_links_age;
CREATE INDEX message_links_age ON message_links (created_at) WHERE NOT from_history;
