ALTER TABLE media DROP CONSTRAINT media_object;
UPDATE media SET state = 'failed', object_key = NULL WHERE state = 'quarantined';
ALTER TABLE media ADD CONSTRAINT media_check CHECK ((state = 'stored') = (object_key IS NOT NULL));
