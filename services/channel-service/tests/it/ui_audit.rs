//! Who did what is found by tenant, actor and kind, page by page.

use domain::user::Role;

use crate::browser::Browser;
use crate::harness::TestApp;

const HERE: &str = "/dashboard/audit";

/// Rows of the table on a page, as text with its tags.
fn acts(page: &str) -> Vec<String> {
    let rows = page.split("<tr><td class=\"tight\">").skip(1);
    rows.map(|row| row.split("</tr>").next().unwrap().to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acts_are_filtered_and_paged() {
    let app = TestApp::spawn().await;
    app.bare_tenant("desa-satu").await;
    app.bare_tenant("desa-dua").await;
    app.run_sql(
        "INSERT INTO audit_log (tenant_id, id, actor, action, subject, detail) \
         SELECT CASE n % 2 WHEN 0 THEN 'desa-satu' ELSE 'desa-dua' END, \
           ('01900000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid, \
           CASE n % 3 WHEN 0 THEN 'user rara@desa.id' ELSE 'case-service' END, \
           CASE n % 5 WHEN 0 THEN 'takeover.start' ELSE 'session.delete' END, 'no. ' || n, '<i>' \
         FROM generate_series(1, 120) n",
    )
    .await;
    let browser = Browser::of_superadmin(&app).await;
    let all = browser.page(HERE).await;
    assert_eq!(acts(&all).len(), 50);
    assert!(!all.contains("<i>") && all.contains("&#60;i&#62;"));
    // Whoever made the users of this test is in it, too.
    assert!(all.contains("user.create") && all.contains("<option value=\"takeover.start\""));

    let count = |n: usize, fits: fn(usize) -> bool| (1..=n).filter(|n| fits(*n)).count();
    for (query, expected) in [
        (
            "actor=Rara%40desa.id&tenant=desa-satu",
            count(120, |n| n % 3 == 0 && n % 2 == 0),
        ),
        ("kind=takeover.start", count(120, |n| n % 5 == 0)),
        (
            "actor=case-service&kind=takeover.start",
            count(120, |n| n % 3 != 0 && n % 5 == 0),
        ),
        ("tenant=desa-tiga", 0),
        ("actor=nobody%00&kind=%00", 0),
    ] {
        let page = browser.page(&format!("{HERE}?{query}")).await;
        assert_eq!(acts(&page).len(), expected, "{query}");
        assert_eq!(page.contains("Nothing found"), expected == 0, "{query}");
    }

    let mut seen = Vec::new();
    let mut path = format!("{HERE}?tenant=desa-dua&kind=session.delete");
    loop {
        let page = browser.page(&path).await;
        assert!(acts(&page).iter().all(|row| row.contains("desa-dua")));
        seen.extend(acts(&page).iter().map(|row| {
            row.split("no. ")
                .nth(1)
                .unwrap()
                .split(' ')
                .next()
                .unwrap()
                .parse::<usize>()
                .unwrap()
        }));
        let Some((before, _)) = page.split_once("\" rel=\"next\"") else {
            break;
        };
        path = before.rsplit_once("href=\"").unwrap().1.replace("&#38;", "&");
    }
    let expected: Vec<usize> = (1..=120).rev().filter(|n| n % 2 == 1 && n % 5 != 0).collect();
    assert_eq!(seen, expected);

    // A tenant's admin sees what was done to the tenant, and nothing of another one.
    let rara = Browser::of(&app, "rara@desa.id", Role::TenantAdmin, Some("desa-satu")).await;
    let own = rara.page("/dashboard/t/desa-satu/audit?tenant=desa-dua").await;
    assert_eq!(acts(&own).len(), 50);
    assert!(!own.contains("desa-dua") && !own.contains("user.create"));
    app.finish().await;
}
