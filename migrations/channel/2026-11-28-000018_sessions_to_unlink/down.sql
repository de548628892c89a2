DROP TABLE sessions_to_unlink;
