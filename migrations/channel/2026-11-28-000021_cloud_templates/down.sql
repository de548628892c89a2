DROP TABLE cloud_template_syncs;
DROP TABLE cloud_templates;
