-- Links and agents' messages are forgotten by age.
CREATE INDEX message_links_age ON message_links (created_at);
CREATE INDEX agent_messages_age ON agent_messages (created_at);

-- A lane that has nothing to do is forgotten, and made again when it is used again. Its fence then begins at the clock,
-- above every number its predecessor gave away.
ALTER TABLE lanes ALTER COLUMN fence SET DEFAULT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint;
