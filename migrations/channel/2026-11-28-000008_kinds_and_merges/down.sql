DROP TABLE contact_lids;
DROP INDEX messages_about;
ALTER TABLE messages DROP COLUMN revoked_at;
ALTER TABLE messages DROP COLUMN edited_at;
ALTER TABLE messages DROP COLUMN target;
ALTER TABLE messages DROP COLUMN sender_name;
ALTER TABLE messages DROP COLUMN sender;
