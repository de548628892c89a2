DROP INDEX sessions_newest;
DROP INDEX sessions_upkeep_due;
ALTER TABLE sessions DROP COLUMN customer_hmac_key_sealed, DROP COLUMN busy_holder, DROP COLUMN busy_until,
    DROP COLUMN upkeep_due;
