DROP INDEX sessions_newest;
ALTER TABLE sessions DROP COLUMN customer_hmac_key_sealed, DROP COLUMN busy_holder, DROP COLUMN busy_until;
