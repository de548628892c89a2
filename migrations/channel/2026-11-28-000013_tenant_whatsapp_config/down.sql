ALTER TABLE send_attempts DROP COLUMN endpoint;
ALTER TABLE accounts DROP COLUMN moved_at;
DROP TABLE tenant_whatsapp_config;
