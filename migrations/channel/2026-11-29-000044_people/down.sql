ALTER TABLE tenants DROP COLUMN text_days, DROP COLUMN media_days, DROP COLUMN raw_days, DROP COLUMN texts_gone_to;
DROP INDEX messages_of_sender;
