ALTER TABLE send_requests DROP COLUMN digest;
ALTER TABLE chats DROP COLUMN profile_phone;
ALTER TABLE chats DROP COLUMN profile_name;
CREATE INDEX chats_of_phone ON chats (tenant_id, phone) WHERE phone IS NOT NULL;
DROP INDEX chats_by_lid;
DROP INDEX chats_by_phone;
DROP INDEX chats_by_address;
