DROP INDEX chats_unread;
DROP TRIGGER chats_other_words ON chats;
DROP TRIGGER chats_new_words ON chats;
DROP FUNCTION note_chat_words;
DROP TABLE chat_words;
DROP FUNCTION digits_of;
DROP FUNCTION words_of;
