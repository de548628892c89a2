CREATE OR REPLACE FUNCTION release_account() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.send_held := NULL;
    NEW.send_probe_at := NULL;
    RETURN NEW;
END
$$;

CREATE OR REPLACE FUNCTION watch_session() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.token_sealed IS NULL THEN
        DELETE FROM session_watch WHERE tenant_id = NEW.tenant_id AND account_id = NEW.id;
    ELSIF TG_OP = 'INSERT' OR NEW.token_sealed IS DISTINCT FROM OLD.token_sealed THEN
        INSERT INTO session_watch (tenant_id, account_id) VALUES (NEW.tenant_id, NEW.id)
        ON CONFLICT (tenant_id, account_id) DO UPDATE SET look_at = now();
    ELSIF NEW.status IS DISTINCT FROM OLD.status THEN
        UPDATE session_watch SET look_at = least(look_at, now())
         WHERE tenant_id = NEW.tenant_id AND account_id = NEW.id;
    END IF;
    RETURN NULL;
END
$$;

DROP FUNCTION is_resealing();
