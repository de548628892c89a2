DROP INDEX quarantine_of_number;
ALTER TABLE quarantine DROP COLUMN signed_by;
DROP TRIGGER accounts_end_numbers ON accounts;
DROP FUNCTION end_numbers_of_account();
DROP TABLE cloud_numbers;
DROP FUNCTION note_end_of_number();
DROP TABLE cloud_number_ends;
