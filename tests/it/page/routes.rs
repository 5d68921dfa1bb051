//! The routes on the admin page.

use super::browser::{ADMIN, Browser};
use crate::harness::Gate;

/// Returns the texts of the cells of the first row that contains a text.
fn cells(page: &str, row: &str) -> Vec<String> {
    let rows = page.split("<tr>").skip(1);
    let row = rows.into_iter().find(|it| it.contains(row));
    let row = row.unwrap_or_else(|| panic!("{page}"));
    let row = row.split("</tr>").next().unwrap();
    let cells = row.split("<td").skip(1);
    let text = |cell: &str| {
        let mut text = String::new();
        // The rest of the tag.
        for part in cell.split('<') {
            text.push_str(part.split_once('>').map_or("", |(_, text)| text));
        }
        text.trim().to_owned()
    };
    cells.map(text).collect()
}

#[test]
fn columns_show_identity_headers_and_responses_to_denied_requests() {
    let gate = Gate::start(&format!(
        "{ADMIN}[[route]]\nname = \"plain\"\npath = \"/plain/\"\nallow = [{{ realm = \"payments\" }}]\n\
         upstream = \"app\"\n\
         [[route]]\nname = \"other\"\npath = \"/other/\"\nallow = [{{ realm = \"payments\" }}]\n\
         challenge = \"none\"\nerrors = \"json\"\nupstream = \"named\"\n\
         denial_headers = {{ set = {{ \"X-Why\" = \"<no>\" }} }}\n\
         [upstream.app]\npeers = [\"127.0.0.1:9\"]\n\
         [upstream.named]\npeers = [\"127.0.0.1:9\"]\nidentity_headers = {{ user = \"X-Who\" }}\n"
    ));
    let admin = gate.register("root", "ungleich-admin");
    let page = Browser::log_in(&gate, &admin).read("/routes");
    let heads = page.split("<th scope=\"col\">").skip(1);
    let heads: Vec<_> = heads.map(|it| it.split('<').next().unwrap()).collect();
    let titles = ["Name", "Requests", "Allows", "Upstream"];
    assert_eq!(
        heads[..5],
        [&titles[..], &["Responses and headers"]].concat()
    );
    assert!(page.contains(
        "Identity headers, unless a route has others: \
         x-auth-name (name), x-auth-realm (realm), x-forwarded-user (user)."
    ));
    let plain = cells(&page, "<strong>plain</strong>");
    assert_eq!(
        plain[1..],
        ["any host\n/plain/", "realm payments", "app127.0.0.1:9", ""]
    );
    let other = cells(&page, "<strong>other</strong>");
    assert_eq!(
        other[4],
        "Denials: challenge none, errors json, x-why: &#60;no&#62;Identity headers: x-who (user)"
    );
}
