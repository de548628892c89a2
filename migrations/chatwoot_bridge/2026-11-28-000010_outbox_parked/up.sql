-- Why a row can never be published. It stays for people; its lane goes on without it.
ALTER TABLE outbox ADD COLUMN parked text;
