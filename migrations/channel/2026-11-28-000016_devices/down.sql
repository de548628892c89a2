-- Fails while a tenant has two devices half made: the sweep takes them back within minutes.
ALTER TABLE session_intents DROP CONSTRAINT session_intents_pkey;
ALTER TABLE session_intents ADD PRIMARY KEY (tenant_id);

DROP INDEX accounts_to_remove;
ALTER TABLE accounts DROP COLUMN removal_tried_at;
ALTER TABLE accounts DROP COLUMN device_since;
ALTER TABLE accounts DROP COLUMN display_name;
