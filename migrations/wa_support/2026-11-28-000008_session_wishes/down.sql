DROP INDEX sessions_connect_due;
ALTER TABLE sessions DROP COLUMN connect_wanted, DROP COLUMN connect_next_try_at, DROP COLUMN record_due,
    DROP COLUMN history_due;
