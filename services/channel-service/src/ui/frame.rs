//! The skeleton around a page: where its reader can go, and what was just done.

use console::{Frame, Language, NavItem, NavSection, Person, TenantHead, Tone};
use domain::user::Role;

use super::visit::{TenantVisit, Visit};
use super::{APP, HOME};
use crate::store::tenant::TenantRow;

/// What is said after something was done: a code of the address (`?said=`), how it is meant, and the words in English and
/// Indonesian. Only these can be said, so a link can put no words into our mouth.
pub(crate) type Said = (&'static str, Tone, &'static str, &'static str);

const SAID: &[Said] = &[
    ("saved", Tone::Ok, "Saved.", "Tersimpan."),
    ("created", Tone::Ok, "It is there now.", "Sudah dibuat."),
    ("deleted", Tone::Ok, "It is gone.", "Sudah dihapus."),
    ("done", Tone::Ok, "Done.", "Selesai."),
];

/// An entry of the navigation: its word in the code, where it leads, and what it says.
type Entry = (&'static str, &'static str, &'static str, &'static str);

const SUPERADMIN: &[Entry] = &[
    ("start", "", "Start", "Awal"),
    ("tenants", "/tenants", "Tenants", "Tenant"),
    ("endpoints", "/endpoints", "Endpoints", "Endpoint"),
    ("deliveries", "/deliveries", "Deliveries", "Pengiriman"),
    ("pictures", "/pictures", "Pictures", "Grafik"),
    ("users", "/users", "Users", "Pengguna"),
    ("audit", "/audit", "Audit log", "Log audit"),
    ("system", "/system", "System", "Sistem"),
];

const TENANT: &[Entry] = &[
    ("chats", "/chats", "Chats", "Percakapan"),
    ("device", "/device", "WhatsApp", "WhatsApp"),
    ("deliveries", "/deliveries", "Deliveries", "Pengiriman"),
    ("pictures", "/pictures", "Pictures", "Grafik"),
    ("settings", "/settings", "Settings", "Pengaturan"),
    ("audit", "/audit", "Audit log", "Log audit"),
];

/// What only a superadmin does about a tenant.
const ABOUT_TENANT: &[Entry] = &[
    ("tenant", "", "Overview", "Ringkasan"),
    ("setup", "/setup", "WhatsApp setup", "Setelan WhatsApp"),
];

impl Visit {
    /// The skeleton of a page that belongs to the entry `active` of the navigation.
    pub(crate) fn frame(&self, active: &str) -> Frame {
        self.frame_saying(active, &[])
    }

    /// As [`Self::frame`], for a page that can say more things than all pages.
    pub(crate) fn frame_saying(&self, active: &str, besides: &[Said]) -> Frame {
        let nav = match self.who.own_tenant() {
            None => vec![section(self.l(), None, &[(HOME, SUPERADMIN)], active)],
            Some(own) => {
                let base = format!("{HOME}/t/{}", own.tenant());
                let start: &[Entry] = &[("start", "", "Start", "Awal")];
                vec![section(self.l(), None, &[(HOME, start), (&base, TENANT)], active)]
            }
        };
        self.around(nav, besides)
    }

    fn around(&self, nav: Vec<NavSection>, besides: &[Said]) -> Frame {
        let mut frame = Frame::plain(self.look, APP, "", HOME);
        frame.csrf = self.secret.csrf_token();
        frame.find = super::messages::FIND;
        frame.who = Some(Person {
            name: self.who.name.clone().unwrap_or_else(|| self.who.email.clone()),
            role: role(self.l(), self.who.role),
            account: Some("/dashboard/account"),
            log_out: Some("/logout"),
        });
        frame.nav = nav;
        frame.here.clone_from(&self.here);
        let code = self.said.as_deref().unwrap_or_default();
        match besides.iter().chain(SAID).find(|(known, ..)| *known == code) {
            Some((_, tone, en, id)) => frame.saying(*tone, self.l().t(en, id)),
            None => frame,
        }
    }
}

impl TenantVisit {
    /// The skeleton of a page of this tenant's that belongs to the entry `active` of the navigation.
    pub(crate) fn frame(&self, active: &str) -> Frame {
        self.frame_saying(active, &[])
    }

    /// As [`Self::frame`], for a page that can say more things than all pages.
    pub(crate) fn frame_saying(&self, active: &str, besides: &[Said]) -> Frame {
        let mut frame = if self.is_superadmin() {
            let about = format!("{HOME}/tenants/{}", self.scope.tenant());
            let base = format!("{HOME}/t/{}", self.scope.tenant());
            let head = name(&self.tenant).to_owned();
            // What is active is the tenant's; `deliveries` is an entry of both.
            let nav = vec![
                section(self.l(), None, &[(HOME, SUPERADMIN)], "tenants"),
                section(
                    self.l(),
                    Some(head),
                    &[(&about, ABOUT_TENANT), (&base, TENANT)],
                    active,
                ),
            ];
            self.around(nav, besides)
        } else {
            self.visit.frame_saying(active, besides)
        };
        frame.tenant = Some(TenantHead {
            id: self.tenant.tenant_id.clone(),
            name: name(&self.tenant).to_owned(),
            suspended: !self.tenant.is_active(),
        });
        frame
    }
}

fn section(l: Language, heading: Option<String>, parts: &[(&str, &[Entry])], active: &str) -> NavSection {
    let items = parts.iter().flat_map(|(base, entries)| {
        entries.iter().map(move |(word, path, en, id)| NavItem {
            href: format!("{base}{path}"),
            label: l.t(en, id).to_owned(),
            active: *word == active,
        })
    });
    NavSection {
        heading,
        items: items.collect(),
    }
}

/// What people call a tenant; its id where nobody gave it a name.
pub(crate) fn name(tenant: &TenantRow) -> &str {
    if tenant.name.trim().is_empty() {
        &tenant.tenant_id
    } else {
        &tenant.name
    }
}

/// A role in the reader's language.
pub(crate) const fn role(l: Language, role: Role) -> &'static str {
    match role {
        Role::Superadmin => l.t("Superadmin", "Superadmin"),
        Role::TenantAdmin => l.t("Tenant admin", "Admin tenant"),
    }
}
