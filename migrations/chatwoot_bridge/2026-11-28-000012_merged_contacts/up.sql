-- The address under which the person is known since two chats became one. What agents write in a conversation of the
-- older address goes there.
ALTER TABLE contacts ADD COLUMN merged_into text;
