ALTER TABLE lanes ALTER COLUMN fence SET DEFAULT 0;
DROP INDEX agent_messages_age;
DROP INDEX message_links_age;
