-- When what is known of a template was so, by Meta's clock: what is told late must not undo what was told or listed since.
ALTER TABLE cloud_templates ADD COLUMN status_at timestamptz NOT NULL DEFAULT 'epoch';
ALTER TABLE cloud_templates ADD COLUMN category_at timestamptz NOT NULL DEFAULT 'epoch';
ALTER TABLE cloud_templates ADD COLUMN quality text NOT NULL DEFAULT '';
ALTER TABLE cloud_templates ADD COLUMN quality_at timestamptz NOT NULL DEFAULT 'epoch';

-- When the list that is kept was asked for, and when something changed of which the list does not know.
ALTER TABLE cloud_template_syncs ADD COLUMN asked_at timestamptz NOT NULL DEFAULT 'epoch';
ALTER TABLE cloud_template_syncs ADD COLUMN changed_at timestamptz NOT NULL DEFAULT 'epoch';
-- How often in a row it could not be listed: the next try waits the longer.
ALTER TABLE cloud_template_syncs ADD COLUMN failures integer NOT NULL DEFAULT 0;
