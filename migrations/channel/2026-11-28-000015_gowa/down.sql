DROP TABLE early_receipts;
DROP INDEX messages_ordered_as;
ALTER TABLE messages DROP COLUMN ordered_as;
