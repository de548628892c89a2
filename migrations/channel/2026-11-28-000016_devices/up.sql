-- A device is an account: what people call it, since when it is one (null: it never had a session of ours, or its device
-- was removed), and when its removal was last tried (null: nobody wants it removed).
ALTER TABLE accounts ADD COLUMN display_name text CHECK (char_length(display_name) BETWEEN 1 AND 100);
ALTER TABLE accounts ADD COLUMN device_since timestamptz;
ALTER TABLE accounts ADD COLUMN removal_tried_at timestamptz;
CREATE INDEX accounts_to_remove ON accounts (removal_tried_at) WHERE removal_tried_at IS NOT NULL;

-- Each device is made by an intent of its own.
ALTER TABLE session_intents DROP CONSTRAINT session_intents_pkey;
ALTER TABLE session_intents ADD PRIMARY KEY (tenant_id, account_id);
