ALTER TABLE cloud_template_syncs DROP COLUMN failures;
ALTER TABLE cloud_template_syncs DROP COLUMN changed_at;
ALTER TABLE cloud_template_syncs DROP COLUMN asked_at;
ALTER TABLE cloud_templates DROP COLUMN quality_at;
ALTER TABLE cloud_templates DROP COLUMN quality;
ALTER TABLE cloud_templates DROP COLUMN category_at;
ALTER TABLE cloud_templates DROP COLUMN status_at;
