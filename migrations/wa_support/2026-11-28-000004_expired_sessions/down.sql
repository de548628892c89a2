DROP TABLE expired_sessions;
