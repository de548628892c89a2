-- What one person wrote in groups is found without reading every message of the tenant: it is given out and erased.
CREATE INDEX messages_of_sender ON messages (tenant_id, sender) WHERE sender IS NOT NULL;

-- How many days the tenant keeps words, files, and what providers told as it came; unset is as the service is configured.
-- `texts_gone_to` is how far the words are gone: ids of messages tell when they came.
ALTER TABLE tenants
    ADD COLUMN text_days integer CHECK (text_days BETWEEN 1 AND 3650),
    ADD COLUMN media_days integer CHECK (media_days BETWEEN 1 AND 3650),
    ADD COLUMN raw_days integer CHECK (raw_days BETWEEN 1 AND 3650),
    ADD COLUMN texts_gone_to uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000';
