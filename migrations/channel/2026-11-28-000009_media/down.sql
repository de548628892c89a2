DROP TABLE media;
DROP FUNCTION throw_object_away();
DROP TABLE media_garbage;
