ALTER TABLE media DROP CONSTRAINT media_object;
ALTER TABLE media NO FORCE ROW LEVEL SECURITY;
UPDATE media SET state = 'failed', object_key = NULL WHERE state = 'quarantined';
ALTER TABLE media FORCE ROW LEVEL SECURITY;
ALTER TABLE media ADD CONSTRAINT media_check CHECK ((state = 'stored') = (object_key IS NOT NULL));
