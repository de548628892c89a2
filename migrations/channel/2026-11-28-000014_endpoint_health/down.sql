DROP TRIGGER accounts_watch_session ON accounts;
DROP FUNCTION watch_session();
DROP TABLE session_watch;
DROP TABLE endpoint_alerts;
DROP TABLE endpoint_checks;
DROP TABLE endpoint_health;
