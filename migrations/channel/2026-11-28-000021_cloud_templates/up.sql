-- Approved texts of a WhatsApp Business Account as Meta last listed them. Each tenant that has a number in the account has
-- rows of its own.
CREATE TABLE cloud_templates (
    tenant_id   text NOT NULL,
    waba_id     text NOT NULL,
    name        text NOT NULL,
    language    text NOT NULL,
    status      text NOT NULL,
    category    text NOT NULL,
    raw         text NOT NULL,
    updated_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, waba_id, name, language)
);
SELECT keep_tenants_apart('cloud_templates');

-- When an account was last listed as a whole: a template that is not there is none only where this is known.
CREATE TABLE cloud_template_syncs (
    tenant_id   text NOT NULL,
    waba_id     text NOT NULL,
    synced_at   timestamptz,
    tried_at    timestamptz NOT NULL DEFAULT now(),
    failure     text,
    PRIMARY KEY (tenant_id, waba_id)
);
SELECT keep_tenants_apart('cloud_template_syncs');
