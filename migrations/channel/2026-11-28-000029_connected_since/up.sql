-- Since when an account is connected without a break. `last_connected_at` only tells when it was last seen so. Unknown for
-- those that are connected by now.
ALTER TABLE accounts ADD COLUMN connected_since timestamptz;

-- However an account comes to its state.
CREATE FUNCTION note_connected_since() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.connected_since := CASE WHEN NEW.status <> 'connected' THEN NULL ELSE now() END;
    RETURN NEW;
END
$$;
CREATE TRIGGER accounts_connected_since BEFORE UPDATE OF status ON accounts
    FOR EACH ROW WHEN (NEW.status IS DISTINCT FROM OLD.status) EXECUTE FUNCTION note_connected_since();
