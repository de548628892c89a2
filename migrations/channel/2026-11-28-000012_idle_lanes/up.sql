-- A lane that has nothing to do is forgotten, and made again when it is used again. Its fence then begins at the clock,
-- above every number its predecessor gave away.
ALTER TABLE lanes ALTER COLUMN fence SET DEFAULT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint;
