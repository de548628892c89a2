DROP INDEX message_links_age;
CREATE INDEX message_links_age ON message_links (created_at);
DROP INDEX message_links_conversation;
ALTER TABLE message_links
    DROP COLUMN file_follows,
    DROP COLUMN settled_at,
    DROP COLUMN from_history;
