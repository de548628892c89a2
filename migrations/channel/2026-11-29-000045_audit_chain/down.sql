DROP TRIGGER platform_acts_chained ON platform_acts;
COMMENT ON TABLE platform_acts IS NULL;
ALTER TABLE platform_acts DROP COLUMN seq, DROP COLUMN prev_hash, DROP COLUMN hash;
DROP TRIGGER audit_log_chained ON audit_log;
COMMENT ON TABLE audit_log IS NULL;
ALTER TABLE audit_log DROP COLUMN seq, DROP COLUMN prev_hash, DROP COLUMN hash;
DROP FUNCTION chain_act();
DROP FUNCTION audit_hash(bigint, bytea, timestamptz, uuid, text[]);
