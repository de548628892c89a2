DROP TABLE leases;
DROP TRIGGER audit_log_is_append_only ON audit_log;
DROP TABLE audit_log;
DROP FUNCTION refuse_change();
DROP TABLE contacts;
DROP TABLE message_usage;
DROP INDEX sessions_unfinished;
ALTER TABLE sessions
    DROP COLUMN number, DROP COLUMN phase, DROP COLUMN phase_since, DROP COLUMN events, DROP COLUMN history,
    DROP COLUMN expiration_sec, DROP COLUMN auto_read_enabled, DROP COLUMN typing_enabled, DROP COLUMN connected,
    DROP COLUMN logged_in, DROP COLUMN jid, DROP COLUMN status, DROP COLUMN last_synced_at, DROP COLUMN last_activity_at,
    DROP COLUMN sent_total, DROP COLUMN failed_total;
DROP INDEX subscriptions_ending;
ALTER TABLE subscriptions DROP COLUMN number, DROP COLUMN period_started_at, DROP COLUMN messages_used;
DROP TABLE api_keys;
DROP INDEX customers_newest;
ALTER TABLE customers DROP CONSTRAINT customers_status;
ALTER TABLE customers DROP COLUMN created_by;
