ALTER TABLE things ADD COLUMN more text;
ALTER TABLE more_things ADD COLUMN more text;
