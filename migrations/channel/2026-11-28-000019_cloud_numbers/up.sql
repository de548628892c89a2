-- Whose a number of Meta's Cloud API is, and whose it was: what is told of a time belongs to whoever had the number then.
-- A number is at most one account's at a time, whichever tenant's.
CREATE TABLE cloud_numbers (
    tenant_id       text NOT NULL,
    phone_number_id text NOT NULL,
    account_id      uuid NOT NULL,
    waba_id         text,
    display_number  text,
    valid_from      timestamptz NOT NULL,
    valid_to        timestamptz,
    created_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, phone_number_id, valid_from),
    FOREIGN KEY (tenant_id, account_id) REFERENCES accounts (tenant_id, id) ON DELETE CASCADE
);
CREATE UNIQUE INDEX cloud_numbers_live ON cloud_numbers (phone_number_id) WHERE valid_to IS NULL;
CREATE INDEX cloud_numbers_of_waba ON cloud_numbers (waba_id) WHERE valid_to IS NULL;
CREATE INDEX cloud_numbers_history ON cloud_numbers (phone_number_id, valid_from);
CREATE INDEX cloud_numbers_of_account ON cloud_numbers (tenant_id, account_id) WHERE valid_to IS NULL;
SELECT keep_tenants_apart('cloud_numbers');

-- When a number was last given up, by whomever. Says nothing about a tenant and outlives the erasure of one: who takes the
-- number afterwards must not be shown what was written to it before.
CREATE TABLE cloud_number_ends (
    phone_number_id text PRIMARY KEY,
    ended_at        timestamptz NOT NULL
);

CREATE FUNCTION note_end_of_number() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO cloud_number_ends AS e (phone_number_id, ended_at)
    VALUES (OLD.phone_number_id, CASE WHEN TG_OP = 'DELETE' THEN coalesce(OLD.valid_to, now()) ELSE NEW.valid_to END)
    ON CONFLICT (phone_number_id) DO UPDATE SET ended_at = greatest(e.ended_at, excluded.ended_at);
    RETURN NULL;
END
$$;
CREATE TRIGGER cloud_numbers_deleted AFTER DELETE ON cloud_numbers
    FOR EACH ROW EXECUTE FUNCTION note_end_of_number();
CREATE TRIGGER cloud_numbers_ended AFTER UPDATE OF valid_to ON cloud_numbers
    FOR EACH ROW WHEN (NEW.valid_to IS NOT NULL) EXECUTE FUNCTION note_end_of_number();

-- However an account loses its session, its number is nobody's from then on.
CREATE FUNCTION end_numbers_of_account() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE cloud_numbers SET valid_to = greatest(now(), valid_from)
     WHERE tenant_id = NEW.tenant_id AND account_id = NEW.id AND valid_to IS NULL;
    RETURN NULL;
END
$$;
CREATE TRIGGER accounts_end_numbers AFTER UPDATE OF token_sealed ON accounts
    FOR EACH ROW WHEN (OLD.token_sealed IS NOT NULL AND NEW.token_sealed IS NULL)
    EXECUTE FUNCTION end_numbers_of_account();

-- The endpoints one of whose secrets had signed it: it is never given to an account of any other.
ALTER TABLE quarantine ADD COLUMN signed_by text[] NOT NULL DEFAULT '{}';
CREATE INDEX quarantine_of_number ON quarantine (instance, received_at) WHERE provider = 'cloud';
