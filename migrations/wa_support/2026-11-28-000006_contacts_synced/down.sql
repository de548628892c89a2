ALTER TABLE sessions DROP COLUMN contacts_synced_at;
