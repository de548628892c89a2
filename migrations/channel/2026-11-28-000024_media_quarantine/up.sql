-- A file that is dangerous, or not what it was announced as, is kept and never handed out.
ALTER TABLE media DROP CONSTRAINT media_check;
ALTER TABLE media ADD CONSTRAINT media_object CHECK ((state IN ('stored', 'quarantined')) = (object_key IS NOT NULL));
