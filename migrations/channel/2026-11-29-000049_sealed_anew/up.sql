-- The same token in another seal is no other token: neither has anybody done something about an account that is held, nor
-- has a session begun. `key reencrypt` says in its transactions that this is all it does.
CREATE FUNCTION is_resealing() RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT coalesce(current_setting('kanal.resealing', true), '') = 'on'
$$;

CREATE OR REPLACE FUNCTION watch_session() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.token_sealed IS NULL THEN
        DELETE FROM session_watch WHERE tenant_id = NEW.tenant_id AND account_id = NEW.id;
    ELSIF TG_OP = 'INSERT' OR (NEW.token_sealed IS DISTINCT FROM OLD.token_sealed AND NOT is_resealing()) THEN
        INSERT INTO session_watch (tenant_id, account_id) VALUES (NEW.tenant_id, NEW.id)
        ON CONFLICT (tenant_id, account_id) DO UPDATE SET look_at = now();
    ELSIF NEW.status IS DISTINCT FROM OLD.status THEN
        UPDATE session_watch SET look_at = least(look_at, now())
         WHERE tenant_id = NEW.tenant_id AND account_id = NEW.id;
    END IF;
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION release_account() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT is_resealing() THEN
        NEW.send_held := NULL;
        NEW.send_probe_at := NULL;
    END IF;
    RETURN NEW;
END
$$;
