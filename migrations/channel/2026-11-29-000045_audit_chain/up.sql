-- The audit log is chained: a change, a row that is missing and one that was put in are found by `audit verify`.

-- What an entry's hash is made of, version 1; crates/audit-log/src/encoding.rs says it in words and computes it as well.
CREATE FUNCTION audit_hash(seq bigint, before bytea, at timestamptz, id uuid, texts text[]) RETURNS bytea
    LANGUAGE sql STABLE AS $$
    SELECT sha256('\x01'::bytea || int8send(seq) || before || timestamptz_send(at) || uuid_send(id) ||
        (SELECT string_agg(
             CASE WHEN t.value IS NULL THEN '\xffffffff'::bytea
                  ELSE int4send(octet_length(convert_to(t.value, 'UTF8'))) || convert_to(t.value, 'UTF8') END,
             ''::bytea ORDER BY t.place)
           FROM unnest(texts) WITH ORDINALITY AS t(value, place)))
$$;

-- Gives an entry its place in the chain of its tenant, or of the platform, whatever the writer sent. Writers of one chain
-- wait here for each other's commits. Works with its caller's rights: it only reads. The path is held fast, so that nobody
-- puts a table or a function of theirs in the way.
CREATE FUNCTION chain_act() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    tenant text := to_jsonb(NEW) ->> 'tenant_id';
    newest record;
BEGIN
    PERFORM pg_advisory_xact_lock(
        hashtextextended(concat_ws(' ', 'audit', TG_TABLE_SCHEMA, TG_TABLE_NAME, tenant), 0));
    EXECUTE format('SELECT seq, hash FROM %I.%I WHERE %s ORDER BY seq DESC LIMIT 1', TG_TABLE_SCHEMA, TG_TABLE_NAME,
                   CASE WHEN tenant IS NULL THEN '$1 IS NULL' ELSE 'tenant_id = $1' END)
       INTO newest USING tenant;
    NEW.at := now();
    NEW.seq := coalesce(newest.seq, 0) + 1;
    NEW.prev_hash := coalesce(newest.hash, decode(repeat('00', 32), 'hex'));
    NEW.hash := audit_hash(NEW.seq, NEW.prev_hash, NEW.at, NEW.id,
                           ARRAY[tenant, NEW.actor, NEW.action, NEW.subject, NEW.detail, NEW.source]);
    RETURN NEW;
END
$$;

-- What is there becomes the first part of the chains, in its order. The owner sees the rows and may write them for this once.
ALTER TABLE audit_log ADD COLUMN seq bigint, ADD COLUMN prev_hash bytea, ADD COLUMN hash bytea;
ALTER TABLE audit_log DISABLE TRIGGER USER;
ALTER TABLE audit_log NO FORCE ROW LEVEL SECURITY;
DO $$
DECLARE
    entry record;
    of_tenant text;
    number bigint := 0;
    before bytea := decode(repeat('00', 32), 'hex');
    own bytea;
BEGIN
    FOR entry IN SELECT tenant_id AS tenant, id, at, actor, action, subject, detail, source FROM audit_log
                 ORDER BY tenant_id, at, id LOOP
        IF entry.tenant IS DISTINCT FROM of_tenant THEN
            of_tenant := entry.tenant;
            number := 0;
            before := decode(repeat('00', 32), 'hex');
        END IF;
        number := number + 1;
        own := audit_hash(number, before, entry.at, entry.id,
                          ARRAY[entry.tenant, entry.actor, entry.action, entry.subject, entry.detail, entry.source]);
        UPDATE audit_log a SET seq = number, prev_hash = before, hash = own WHERE a.tenant_id = entry.tenant AND a.id = entry.id;
        before := own;
    END LOOP;
END
$$;
ALTER TABLE audit_log FORCE ROW LEVEL SECURITY;
ALTER TABLE audit_log ENABLE TRIGGER USER;
ALTER TABLE audit_log ALTER COLUMN seq SET NOT NULL, ALTER COLUMN prev_hash SET NOT NULL, ALTER COLUMN hash SET NOT NULL,
    ADD CONSTRAINT audit_log_hashes CHECK (octet_length(prev_hash) = 32 AND octet_length(hash) = 32),
    ADD CONSTRAINT audit_log_chain UNIQUE (tenant_id, seq);
CREATE TRIGGER audit_log_chained BEFORE INSERT ON audit_log FOR EACH ROW EXECUTE FUNCTION chain_act();
COMMENT ON TABLE audit_log IS 'append-only: the service''s roles may insert and read';

-- What is there becomes the first part of the chain, in its order. The owner sees the rows and may write them for this once.
ALTER TABLE platform_acts ADD COLUMN seq bigint, ADD COLUMN prev_hash bytea, ADD COLUMN hash bytea;
ALTER TABLE platform_acts DISABLE TRIGGER USER;
ALTER TABLE platform_acts NO FORCE ROW LEVEL SECURITY;
DO $$
DECLARE
    entry record;
    number bigint := 0;
    before bytea := decode(repeat('00', 32), 'hex');
    own bytea;
BEGIN
    FOR entry IN SELECT NULL::text AS tenant, id, at, actor, action, subject, detail, source FROM platform_acts
                 ORDER BY at, id LOOP
        number := number + 1;
        own := audit_hash(number, before, entry.at, entry.id,
                          ARRAY[entry.tenant, entry.actor, entry.action, entry.subject, entry.detail, entry.source]);
        UPDATE platform_acts a SET seq = number, prev_hash = before, hash = own WHERE a.id = entry.id;
        before := own;
    END LOOP;
END
$$;
ALTER TABLE platform_acts FORCE ROW LEVEL SECURITY;
ALTER TABLE platform_acts ENABLE TRIGGER USER;
ALTER TABLE platform_acts ALTER COLUMN seq SET NOT NULL, ALTER COLUMN prev_hash SET NOT NULL, ALTER COLUMN hash SET NOT NULL,
    ADD CONSTRAINT platform_acts_hashes CHECK (octet_length(prev_hash) = 32 AND octet_length(hash) = 32),
    ADD CONSTRAINT platform_acts_chain UNIQUE (seq);
CREATE TRIGGER platform_acts_chained BEFORE INSERT ON platform_acts FOR EACH ROW EXECUTE FUNCTION chain_act();
COMMENT ON TABLE platform_acts IS 'append-only: the service''s roles may insert and read';
