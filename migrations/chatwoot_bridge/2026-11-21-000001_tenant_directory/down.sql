DROP TABLE tenant_directory;
DROP FUNCTION keep_tenants_apart(regclass);
