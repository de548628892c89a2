DROP TABLE merged_chats;
