DROP TABLE ai_replies;
DROP TABLE pending_messages;
ALTER TABLE messages DROP COLUMN ai_handling;
