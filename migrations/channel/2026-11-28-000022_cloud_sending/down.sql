DROP TRIGGER accounts_release ON accounts;
DROP FUNCTION release_account();
ALTER TABLE accounts DROP COLUMN is_upgraded;
ALTER TABLE accounts DROP COLUMN send_probe_at;
ALTER TABLE accounts DROP COLUMN send_held;
ALTER TABLE chats DROP COLUMN last_inbound_at;
