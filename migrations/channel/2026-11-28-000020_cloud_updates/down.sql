DROP TABLE cloud_updates;
ALTER TABLE early_receipts DROP COLUMN reason;
DROP TABLE message_status_details;
