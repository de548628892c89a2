-- What one person wrote in groups is found without reading every message of the tenant: it is given out and erased.
CREATE INDEX messages_of_sender ON messages (tenant_id, sender) WHERE sender IS NOT NULL;
