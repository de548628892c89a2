-- A session that is to be connected because its customer wanted that when it was made: since when, and when it is tried
-- next. Both are empty once it was connected, or somebody disconnected it, or nobody could for too long.
ALTER TABLE sessions ADD COLUMN connect_wanted timestamptz;
ALTER TABLE sessions ADD COLUMN connect_next_try_at timestamptz;
CREATE INDEX sessions_connect_due ON sessions (connect_next_try_at) WHERE connect_next_try_at IS NOT NULL;

-- What the WA server keeps on record of a session (name, expiration, history) may not be what the row says, and is to be
-- told again with what it forgets. That it is to keep no history it takes for running sessions only.
ALTER TABLE sessions ADD COLUMN record_due boolean NOT NULL DEFAULT false;
ALTER TABLE sessions ADD COLUMN history_due boolean NOT NULL DEFAULT false;
