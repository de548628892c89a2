-- A customer's key opens one gateway, which is that of one endpoint: it is kept under the endpoint's name, and the seal is
-- good for that name only. A tenant that moves has a key here and a key there, and neither gateway sees the other's.
ALTER TABLE support_customers ADD COLUMN endpoint text CHECK (endpoint ~ '^[A-Za-z0-9_-]{1,64}$');
-- False: sealed before seals named the endpoint. The service seals it anew when it is first used, and only such a row opens
-- without the name.
ALTER TABLE support_customers ADD COLUMN names_endpoint boolean NOT NULL DEFAULT true;

-- Keys that are there belong to the endpoint that all of their tenant's accounts are bound to, unless those were moved since:
-- they go on opening what they opened. Whose a key is that is not told by this is not known, and it is forgotten: the
-- service makes another one when it next makes or removes a session of the tenant's. A migrating role that is no superuser sees no tenant's
-- rows while row-level security binds the owner too.
ALTER TABLE accounts NO FORCE ROW LEVEL SECURITY;
ALTER TABLE support_customers NO FORCE ROW LEVEL SECURITY;
UPDATE support_customers c SET endpoint = bound.endpoint, names_endpoint = false
  FROM (SELECT tenant_id, min(endpoint) AS endpoint, max(moved_at) AS moved_at FROM accounts
         GROUP BY tenant_id HAVING count(DISTINCT endpoint) = 1 AND bool_and(provider = 'genfity')) bound
 WHERE bound.tenant_id = c.tenant_id AND (bound.moved_at IS NULL OR bound.moved_at <= c.updated_at);
DELETE FROM support_customers WHERE endpoint IS NULL;
ALTER TABLE accounts FORCE ROW LEVEL SECURITY;
ALTER TABLE support_customers FORCE ROW LEVEL SECURITY;

ALTER TABLE support_customers ALTER COLUMN endpoint SET NOT NULL;
ALTER TABLE support_customers DROP CONSTRAINT support_customers_pkey;
ALTER TABLE support_customers ADD PRIMARY KEY (tenant_id, endpoint);
