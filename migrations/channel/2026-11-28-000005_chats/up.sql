-- A person is looked for by any of the names the person has, within one tenant and, by a caller that names none,
-- over all of them.
CREATE INDEX chats_by_address ON chats (address, tenant_id);
CREATE INDEX chats_by_phone ON chats (phone, tenant_id) WHERE phone IS NOT NULL;
CREATE INDEX chats_by_lid ON chats (lid, tenant_id) WHERE lid IS NOT NULL;
DROP INDEX chats_of_phone;

-- What the person said about themselves to the AI. Apart from what WhatsApp says: a number that somebody typed into a
-- web page must never be dialled, nor make two people one.
ALTER TABLE chats ADD COLUMN profile_name text;
ALTER TABLE chats ADD COLUMN profile_phone text;

-- What was ordered under a key that the caller chose, so that the same key with other words is noticed.
ALTER TABLE send_requests ADD COLUMN digest uuid;
