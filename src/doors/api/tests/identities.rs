use super::*;
use crate::auth::Terms;

const LIST: &str = "/ungleichotp/";
const TAKEN: &str = r#"{"non_field_errors":["The fields name, realm must make a unique set."]}"#;

/// Sends a request of the admin with `fields`, which begin with a comma.
async fn as_admin(door: &Door, method: &str, path: &str, fields: &str) -> Sent {
    door.send(method, path, &format!("{{{ADMIN}{fields}}}"))
        .await
}

#[tokio::test]
async fn list_shows_everybody_and_no_seed() {
    let door = Door::open().await;
    let sent = as_admin(&door, "GET", LIST, "").await;
    sent.is(
        200,
        r#"[{"id":1,"name":"admin","realm":"ungleich-admin"},{"id":2,"name":"auth","realm":"ungleich-auth"},{"id":3,"name":"user","realm":"ungleich-intern"}]"#,
    );
    assert_eq!(sent.header(ALLOW), Some("GET, POST, HEAD, OPTIONS"));
    assert_eq!(sent.header(VARY), Some("Accept"));
}

#[tokio::test]
async fn revealed_seeds_stand_in_list_and_identity() {
    let door = Door::with(|api| api.reveal_seeds = true).await;
    let user = r#"{"id":3,"name":"user","realm":"ungleich-intern","seed":"CEKXVG3235PO2HDWCEKXVG3235PO2HDW"}"#;
    let sent = as_admin(&door, "GET", LIST, "").await;
    assert!(sent.body.ends_with(&format!(",{user}]")), "{sent:?}");
    as_admin(&door, "GET", "/ungleichotp/3/", "")
        .await
        .is(200, user);
}

#[tokio::test]
async fn selection_with_nul_is_rejected_before_the_store() {
    let door = Door::open().await;
    for (query, key) in [("name=%00", "name"), ("name=a&realm=%00r", "realm")] {
        let path = format!("{LIST}?first=5&{query}");
        let detail =
            format!(r#"{{"non_field_errors":["{key}: null characters are not allowed."]}}"#);
        as_admin(&door, "GET", &path, "").await.is(400, &detail);
    }
}

#[tokio::test]
async fn list_longer_than_a_page_is_whole() {
    let mut store = None;
    let door = Door::with(|api| store = Some(Arc::clone(&api.identities))).await;
    for number in 0..1000 {
        let new = NewIdentity {
            principal: Principal::new(&format!("n{number}"), "r", 128).unwrap(),
            seed: Seed::generate().unwrap(),
            parameters: Parameters::default(),
            terms: Terms::default(),
        };
        let store = store.as_ref().unwrap();
        store.create(new, UnixTime::from_secs(0)).await.unwrap();
    }
    let sent = as_admin(&door, "GET", LIST, "").await;
    assert_eq!(sent.body.matches(r#""id":"#).count(), 1003);
    assert!(sent.body.ends_with(r#""name":"n999","realm":"r"}]"#));
}

#[tokio::test]
async fn only_the_admin_realm_reads_and_writes() {
    let door = Door::open().await;
    for (method, path) in [
        ("GET", LIST),
        ("POST", LIST),
        ("GET", "/ungleichotp/999999/"),
        ("PUT", "/ungleichotp/3/"),
        ("PATCH", "/ungleichotp/3/"),
        ("DELETE", "/ungleichotp/3/"),
    ] {
        for caller in [AUTH, USER] {
            let body = format!(r#"{{{caller},"name":"z","realm":"z"}}"#);
            door.send(method, path, &body).await.is(403, NOT_ALLOWED);
        }
        door.send(method, path, "").await.is(403, NOT_AUTHENTICATED);
        let body = r#"{"name":"z","realm":"z"}"#;
        door.send(method, path, body)
            .await
            .is(403, NOT_AUTHENTICATED);
    }
    let sent = as_admin(&door, "GET", LIST, "").await;
    assert_eq!(sent.body.matches(r#""id":"#).count(), 3);
}

#[tokio::test]
async fn options_shows_every_caller_only_what_it_may_do() {
    let door = Door::open().await;
    let plain = |name: &str| {
        format!(
            concat!(
                r#"{{"name":"{}","description":"","renders":["application/json"],"#,
                r#""parses":["application/json","application/x-www-form-urlencoded","multipart/form-data"]}}"#
            ),
            name
        )
    };
    for (path, name, action) in [
        (LIST, "Otp List", Some("POST")),
        ("/ungleichotp/3/", "Otp Instance", Some("PUT")),
        ("/ungleichotp/999999/", "Otp Instance", None),
        ("/ungleichotp/x/", "Otp Instance", None),
    ] {
        for caller in [AUTH, USER] {
            let body = format!("{{{caller}}}");
            door.send("OPTIONS", path, &body)
                .await
                .is(200, &plain(name));
        }
        door.send("OPTIONS", path, "")
            .await
            .is(403, NOT_AUTHENTICATED);
        let sent = as_admin(&door, "OPTIONS", path, "").await;
        match action {
            None => sent.is(200, &plain(name)),
            Some(method) => {
                let start = format!(r#"],"actions":{{"{method}":{{"id""#);
                assert!(sent.body.contains(&start), "{sent:?}");
            }
        }
    }
}

#[tokio::test]
async fn created_identity_shows_its_new_seed_once_and_authenticates_with_it() {
    let door = Door::open().await;
    let fields = r#","name":" svc ","realm":"other","seed":"AAAAAAAAAAAAAAAA""#;
    let sent = as_admin(&door, "POST", LIST, fields).await;
    let start = r#"{"id":4,"name":"svc","realm":"other","seed":""#;
    let seed = sent
        .body
        .strip_prefix(start)
        .and_then(|rest| rest.strip_suffix("\"}"));
    let seed = seed.unwrap_or_else(|| panic!("{sent:?}"));
    assert_eq!((sent.status.as_u16(), seed.len()), (201, 32));
    let token = token_of(seed);
    door.verify(&format!(
        r#"{{{AUTH},"name":"svc","realm":"other","token":"{token}"}}"#
    ))
    .await
    .is(200, r#"{"status":"OK"}"#);
    as_admin(&door, "GET", "/ungleichotp/4/", "")
        .await
        .is(200, r#"{"id":4,"name":"svc","realm":"other"}"#);
}

#[tokio::test]
async fn taken_principal_is_rejected() {
    let door = Door::open().await;
    let user = r#","name":"user","realm":"ungleich-intern""#;
    as_admin(&door, "POST", LIST, user).await.is(400, TAKEN);
    as_admin(&door, "PUT", "/ungleichotp/2/", user)
        .await
        .is(400, TAKEN);
    let fields = r#","name":"x","realm":"ungleich-intern""#;
    assert_eq!(as_admin(&door, "POST", LIST, fields).await.status, 201);
    let fields = r#","name":"user""#;
    as_admin(&door, "PATCH", "/ungleichotp/4/", fields)
        .await
        .is(400, TAKEN);
}

#[tokio::test]
async fn unusable_fields_are_named_without_spaces() {
    let door = Door::open().await;
    as_admin(&door, "POST", LIST, "").await.is(
        400,
        r#"{"name":["This field is required."],"realm":["This field is required."]}"#,
    );
    as_admin(&door, "POST", LIST, r#","name":true,"realm":" ""#)
        .await
        .is(
            400,
            r#"{"name":["Not a valid string."],"realm":["This field may not be blank."]}"#,
        );
    let long = format!(r#","name":"{}","realm":null"#, "y".repeat(129));
    as_admin(&door, "POST", LIST, &long).await.is(
        400,
        r#"{"name":["Ensure this field has no more than 128 characters."],"realm":["This field may not be null."]}"#,
    );
    as_admin(&door, "PUT", "/ungleichotp/3/", r#","name":"n""#)
        .await
        .is(400, r#"{"realm":["This field is required."]}"#);
    as_admin(&door, "PATCH", "/ungleichotp/3/", r#","name":null"#)
        .await
        .is(400, r#"{"name":["This field may not be null."]}"#);
}

#[tokio::test]
async fn number_becomes_a_name() {
    let door = Door::open().await;
    let sent = as_admin(&door, "POST", LIST, r#","name":42,"realm":1.5"#).await;
    let start = r#"{"id":4,"name":"42","realm":"1.5","seed":""#;
    assert!(sent.body.starts_with(start), "{sent:?}");
}

#[tokio::test]
async fn name_and_realm_are_no_user_at_host() {
    let door = Door::open().await;
    for fields in [
        r#","name":"a","realm":"b@c""#,
        r#","name":"a@b","realm":"c""#,
    ] {
        assert_eq!(as_admin(&door, "POST", LIST, fields).await.status, 201);
    }
}

#[tokio::test]
async fn put_and_patch_rename_and_keep_the_seed() {
    let door = Door::open().await;
    let path = "/ungleichotp/3/";
    for (method, fields, expected) in [
        (
            "PUT",
            r#","name":"b","realm":"r","seed":"AAAA""#,
            ("b", "r"),
        ),
        ("PATCH", r#","name":"c""#, ("c", "r")),
        ("PATCH", r#","realm":"s""#, ("c", "s")),
        ("PATCH", "", ("c", "s")),
        ("PUT", r#","name":"c","realm":"s""#, ("c", "s")),
    ] {
        let sent = as_admin(&door, method, path, fields).await;
        let (name, realm) = expected;
        sent.is(
            200,
            &format!(r#"{{"id":3,"name":"{name}","realm":"{realm}"}}"#),
        );
    }
    let subject = r#""name":"c","realm":"s","token":"$user""#;
    let sent = door.verify(&format!("{{{AUTH},{subject}}}")).await;
    sent.is(200, r#"{"status":"OK"}"#);
    let sent = door.verify(&format!("{{{AUTH},{SUBJECT}}}")).await;
    sent.is(403, NOT_ALLOWED);
}

#[tokio::test]
async fn deleted_identity_is_gone() {
    let door = Door::open().await;
    let path = "/ungleichotp/3/";
    let sent = as_admin(&door, "DELETE", path, "").await;
    sent.is(204, "");
    assert_eq!(sent.header(CONTENT_TYPE), None);
    assert_eq!(sent.header(VARY), Some("Accept"));
    for method in ["DELETE", "GET", "PUT", "PATCH"] {
        as_admin(&door, method, path, "").await.is(404, NOT_FOUND);
    }
    let sent = door.verify(&format!("{{{AUTH},{SUBJECT}}}")).await;
    sent.is(403, NOT_ALLOWED);
}

#[tokio::test]
async fn number_that_no_identity_has_is_not_found() {
    let door = Door::open().await;
    for id in [
        "0",
        "999999",
        "9223372036854775808",
        "abc",
        "+3",
        "-1",
        "%FF",
        "3%00",
    ] {
        let path = format!("/ungleichotp/{id}/");
        let sent = as_admin(&door, "GET", &path, "").await;
        sent.is(404, NOT_FOUND);
        let allow = "GET, PUT, PATCH, DELETE, HEAD, OPTIONS";
        assert_eq!(sent.header(ALLOW), Some(allow));
    }
}

#[tokio::test]
async fn other_methods_are_rejected() {
    let door = Door::open().await;
    for (method, path) in [("DELETE", LIST), ("PUT", LIST), ("POST", "/ungleichotp/3/")] {
        let sent = as_admin(&door, method, path, "").await;
        sent.is(
            405,
            &format!(r#"{{"detail":"Method \"{method}\" not allowed."}}"#),
        );
    }
}

#[tokio::test]
async fn head_is_get_without_a_body() {
    let door = Door::open().await;
    for path in [LIST, "/ungleichotp/3/"] {
        as_admin(&door, "HEAD", path, "").await.is(200, "");
    }
    door.send("HEAD", LIST, "").await.is(403, "");
}

#[tokio::test]
async fn options_describes_the_fields() {
    let door = Door::open().await;
    let sent = as_admin(&door, "OPTIONS", "/ungleichotp/3/", "").await;
    sent.is(
        200,
        r#"{"name":"Otp Instance","description":"","renders":["application/json"],"parses":["application/json","application/x-www-form-urlencoded","multipart/form-data"],"actions":{"PUT":{"id":{"type":"integer","required":false,"read_only":true,"label":"Id"},"name":{"type":"string","required":true,"read_only":false,"label":"Name","max_length":128},"realm":{"type":"string","required":true,"read_only":false,"label":"Realm","max_length":128},"seed":{"type":"string","required":false,"read_only":true,"label":"Seed"}}}}"#,
    );
}

#[tokio::test]
async fn caller_may_stand_in_the_headers() {
    let door = Door::open().await;
    let headers = [
        ("content-type", "application/json"),
        ("x-auth-name", "admin"),
        ("x-auth-realm", "ungleich-admin"),
        ("x-auth-token", "$admin"),
    ];
    let sent = door.send_with("GET", LIST, &headers[1..], "").await;
    assert_eq!(sent.status, 200);
    let body = r#"{"name":"n","realm":"r"}"#;
    let sent = door.send_with("POST", LIST, &headers, body).await;
    assert_eq!(sent.status, 201);
    let sent = door
        .send_with("GET", LIST, &headers, &format!("{{{ADMIN}}}"))
        .await;
    sent.is(403, NOT_AUTHENTICATED);
}

#[tokio::test]
async fn version_0_6_caller_is_accepted_only_where_nothing_is_written() {
    let door = Door::open().await;
    let body = r#"{"name":"admin","realm":"ungleich-admin","token":"$admin"}"#;
    for method in ["POST", "PUT", "PATCH"] {
        let sent = door.send(method, "/ungleichotp/3/", body).await;
        sent.is(403, NOT_AUTHENTICATED);
    }
    assert_eq!(door.send("GET", LIST, body).await.status, 200);
    assert_eq!(
        door.send("DELETE", "/ungleichotp/3/", body).await.status,
        204
    );
}

#[tokio::test]
async fn changes_of_name_and_realm_at_once_both_count() {
    let door = Door::open().await;
    let name = as_admin(&door, "PATCH", "/ungleichotp/3/", r#","name":"n""#);
    let realm = as_admin(&door, "PATCH", "/ungleichotp/3/", r#","realm":"r""#);
    tokio::join!(name, realm);
    as_admin(&door, "GET", "/ungleichotp/3/", "")
        .await
        .is(200, r#"{"id":3,"name":"n","realm":"r"}"#);
}

#[tokio::test]
async fn only_the_admin_realm_registers_in_reserved_realms_and_in_such_that_look_like_them() {
    let door = Door::open().await;
    for realm in [
        "ungleich-admin",
        "ungleich-auth",
        "Ungleich-Admin",
        "ungleich-аdmin",
    ] {
        let fields = format!(r#","name":"x","realm":"{realm}","seed":"JBSWY3DPEHPK3PXP""#);
        for caller in [AUTH, USER] {
            let body = format!("{{{caller}{fields}}}");
            door.send("POST", LIST, &body).await.is(403, NOT_ALLOWED);
        }
        let sent = as_admin(&door, "POST", LIST, &fields).await;
        assert_eq!(sent.status, 201);
        assert!(!sent.body.contains("JBSWY3DPEHPK3PXP"));
    }
}
