DROP INDEX audit_log_of_action;
DROP INDEX audit_log_of_actor;
DROP TABLE platform_acts;
DROP TRIGGER audit_log_chained ON audit_log;
COMMENT ON TABLE audit_log IS NULL;
ALTER TABLE audit_log DROP COLUMN seq, DROP COLUMN prev_hash, DROP COLUMN hash;
DROP FUNCTION chain_act();
DROP FUNCTION audit_hash(bigint, bytea, timestamptz, uuid, text[]);
