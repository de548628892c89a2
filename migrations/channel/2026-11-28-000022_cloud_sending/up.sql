-- When a person last wrote: for a day from then on Meta lets anything be sent, afterwards templates only.
ALTER TABLE chats ADD COLUMN last_inbound_at timestamptz;
ALTER TABLE chats NO FORCE ROW LEVEL SECURITY;
ALTER TABLE messages NO FORCE ROW LEVEL SECURITY;
UPDATE chats c SET last_inbound_at = (SELECT max(m.sent_at) FROM messages m
    WHERE m.tenant_id = c.tenant_id AND m.chat_id = c.id AND m.direction = 'inbound');
ALTER TABLE messages FORCE ROW LEVEL SECURITY;
ALTER TABLE chats FORCE ROW LEVEL SECURITY;

-- Why an account sends nothing until somebody has done something about it, and when it is next asked whether they have.
ALTER TABLE accounts ADD COLUMN send_held text;
ALTER TABLE accounts ADD COLUMN send_probe_at timestamptz;

-- The provider lets the account's number send faster than others.
ALTER TABLE accounts ADD COLUMN is_upgraded boolean NOT NULL DEFAULT false;

-- Another token, or another endpoint: that was done about it.
CREATE FUNCTION release_account() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.send_held := NULL;
    NEW.send_probe_at := NULL;
    RETURN NEW;
END
$$;
CREATE TRIGGER accounts_release BEFORE UPDATE OF token_sealed, endpoint ON accounts
    FOR EACH ROW WHEN (OLD.send_held IS NOT NULL
        AND (OLD.token_sealed IS DISTINCT FROM NEW.token_sealed OR OLD.endpoint IS DISTINCT FROM NEW.endpoint))
    EXECUTE FUNCTION release_account();
