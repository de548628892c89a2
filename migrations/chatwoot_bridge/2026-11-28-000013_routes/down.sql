-- What routes to URLs had entered; those of connected inboxes stay.
ALTER TABLE tenant_directory NO FORCE ROW LEVEL SECURITY;
ALTER TABLE inboxes NO FORCE ROW LEVEL SECURITY;
DELETE FROM tenant_directory d WHERE d.kind = 'chatwoot_inbox'
   AND NOT EXISTS (SELECT FROM inboxes i WHERE i.tenant_id = d.tenant_id AND i.id = d.subject_id);
ALTER TABLE inboxes FORCE ROW LEVEL SECURITY;
ALTER TABLE tenant_directory FORCE ROW LEVEL SECURITY;
DROP TRIGGER route_version ON inboxes;
DROP TABLE quarantine;
DROP TABLE installations;
DROP TABLE routes;
DROP TABLE route_places;
DROP TABLE route_version;
DROP FUNCTION keep_route_places();
DROP FUNCTION move_route_version();
