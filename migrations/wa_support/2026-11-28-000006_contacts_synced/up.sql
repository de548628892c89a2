-- When the session's list of contacts last came, so that a sync need not touch the rows it only confirms.
ALTER TABLE sessions ADD COLUMN contacts_synced_at timestamptz;
