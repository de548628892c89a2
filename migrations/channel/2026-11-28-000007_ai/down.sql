DROP INDEX chats_of_hidden_id;
DROP INDEX chats_of_phone_anywhere;
DROP INDEX chats_of_address;
DROP TABLE ai_replies;
DROP TABLE pending_messages;
ALTER TABLE messages DROP COLUMN ai_handling;
