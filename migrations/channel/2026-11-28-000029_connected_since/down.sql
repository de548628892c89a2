DROP TRIGGER accounts_connected_since ON accounts;
DROP FUNCTION note_connected_since();
ALTER TABLE accounts DROP COLUMN connected_since;
