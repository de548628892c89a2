-- Who an outside id belongs to: the only road from a webhook or a token to a tenant.
CREATE TABLE tenant_directory (
    kind        text NOT NULL,
    external_id text NOT NULL,
    tenant_id   text NOT NULL,
    subject_id  uuid NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (kind, external_id)
);
CREATE INDEX tenant_directory_subject ON tenant_directory (tenant_id, subject_id);

-- Puts a tenant table under the rules every tenant table has: row-level security that binds the owner too, the
-- transaction's tenants for the tenant role, everything for the platform role.
CREATE FUNCTION keep_tenants_apart(tenant_table regclass) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', tenant_table);
    EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', tenant_table);
    EXECUTE format(
        'CREATE POLICY tenants_of_the_transaction ON %s TO chatwoot_bridge_tenant '
        'USING (tenant_id = ANY (string_to_array(current_setting(''kanal.tenants'', true), '',''))) '
        'WITH CHECK (tenant_id = ANY (string_to_array(current_setting(''kanal.tenants'', true), '','')))',
        tenant_table);
    EXECUTE format(
        'CREATE POLICY platform_work ON %s TO chatwoot_bridge_platform USING (true) WITH CHECK (true)', tenant_table);
END
$$;

SELECT keep_tenants_apart('tenant_directory');
