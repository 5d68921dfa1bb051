//! Request bodies: which fields are read, and the responses to malformed ones.

use std::fmt::Write;

use super::*;

const VERIFY: &str = "/ungleichotp/verify/";

const BOUNDARY: &str = "multipart/form-data; boundary=x";

fn parts(parts: &[(&str, &str)]) -> String {
    let mut body = String::new();
    for (disposition, text) in parts {
        let _ = write!(
            body,
            "--x\r\nContent-Disposition: form-data; {disposition}\r\n\r\n{text}\r\n"
        );
    }
    body + "--x--\r\n"
}

#[tokio::test]
async fn bad_json_is_named_in_pythons_words() {
    let door = Door::open().await;
    for (body, message) in [
        (
            r#"{"auth_name": }"#,
            "Expecting value: line 1 column 15 (char 14)",
        ),
        ("{\n\"é\": }", "Expecting value: line 2 column 6 (char 7)"),
        ("nope", "Expecting value: line 1 column 1 (char 0)"),
        (
            r#"{"a": NaN}"#,
            "Out of range float values are not JSON compliant: 'NaN'",
        ),
        (r#"{"a": 1} x"#, "Extra data: line 1 column 10 (char 9)"),
        (
            r#"{"a" 1}"#,
            "Expecting ':' delimiter: line 1 column 6 (char 5)",
        ),
        (
            r#"{"a": 1 2}"#,
            "Expecting ',' delimiter: line 1 column 9 (char 8)",
        ),
        (
            r#"{"a": 1,}"#,
            "Expecting property name enclosed in double quotes: line 1 column 9 (char 8)",
        ),
    ] {
        let sent = door.verify(body).await;
        sent.is(
            400,
            &format!(r#"{{"detail":"JSON parse error - {message}"}}"#),
        );
        assert_eq!(sent.header(ALLOW), Some("POST, OPTIONS"));
    }
    assert_eq!(door.verify("\u{feff}{}").await.status, 400);
}

#[tokio::test]
async fn nesting_of_any_depth_overflows_nothing() {
    let door = Door::open().await;
    assert_eq!(door.verify(&"[".repeat(100_000)).await.status, 400);
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    door.verify(&deep).await.is(403, NOT_AUTHENTICATED);
    let body = format!(r#"{{{AUTH},{SUBJECT},"name":{deep}}}"#);
    door.verify(&body)
        .await
        .is(400, r#"{"name": ["Not a valid string."]}"#);
}

#[tokio::test]
async fn body_of_another_type_is_rejected() {
    let door = Door::open().await;
    let body = format!("{{{AUTH},{SUBJECT}}}");
    for given in ["text/plain", "", "multipart/mixed; boundary=x"] {
        let headers = [("content-type", given)];
        let sent = door.send_with("POST", VERIFY, &headers, &body).await;
        let detail = format!(r#"{{"detail":"Unsupported media type \"{given}\" in request."}}"#);
        sent.is(415, &detail);
    }
    let twice = [("content-type", "application/json"); 2];
    let sent = door.send_with("POST", VERIFY, &twice, &body).await;
    assert_eq!(sent.status, 415);
    let sent = door
        .send_with("POST", VERIFY, &[("content-type", "text/plain")], "")
        .await;
    sent.is(403, NOT_AUTHENTICATED);
}

#[tokio::test]
async fn multipart_form_is_read() {
    let door = Door::open().await;
    let mut fields = vec![
        ("name=\"auth_name\"", "auth"),
        ("name=\"auth_realm\"", "ungleich-auth"),
        ("name=\"auth_token\"", "$auth"),
        ("name=\"name\"", "somebody else"),
        ("name=\"name\"", " user "),
        ("name=\"realm\"", "ungleich-intern"),
        ("name=\"token\"", "$user"),
        ("name=\"other\"; filename=\"f\"", "ignored"),
    ];
    let headers = [("content-type", BOUNDARY)];
    let sent = door
        .send_with("POST", VERIFY, &headers, &parts(&fields))
        .await;
    sent.is(200, r#"{"status":"OK"}"#);
    fields.push(("name=\"token\"; filename=\"f\"", "$user"));
    let sent = door
        .send_with("POST", VERIFY, &headers, &parts(&fields))
        .await;
    sent.is(400, r#"{"token": ["Not a valid string."]}"#);
}

#[tokio::test]
async fn multipart_form_is_read_like_in_ungleich_otp() {
    let door = Door::open().await;
    let field = |name: &str, more: &str, text: &str| {
        format!("Content-Disposition: form-data; name=\"{name}\"\r\n{more}\r\n{text}\r\n")
    };
    let base64 = "Content-Transfer-Encoding: base64\r\n";
    let form = |boundary: &str, end: &str| {
        let subject = [
            field("name", base64, "dXNl\r\ncg=="),
            field("realm", base64, "dW5nbGVpY2gtaW50ZXJu"),
            // Invalid base64 stays unchanged.
            field("token", base64, "$user"),
        ];
        let caller = [
            field("auth_name", "", "auth"),
            field("auth_realm", "", "ungleich-auth"),
            field("auth_token", "", "$auth"),
        ];
        let parts = caller.iter().chain(&subject);
        let parts: String = parts.map(|it| format!("--{boundary}\r\n{it}")).collect();
        format!("{parts}{end}")
    };
    for (parameter, boundary) in [
        ("x", "x"),
        ("a/b:c=d?(e)'+_,-.", "a/b:c=d?(e)'+_,-."),
        ("\"a b;c\"", "a b;c"),
        (
            "----WebKitFormBoundary7MA4YWxkTrZu0gW; charset=utf-8",
            "----WebKitFormBoundary7MA4YWxkTrZu0gW",
        ),
    ] {
        let given = format!("multipart/form-data; boundary={parameter}");
        for end in [
            &*format!("--{boundary}--\r\n"),
            &format!("--{boundary}--"),
            "",
        ] {
            let headers = [("content-type", &*given)];
            let sent = door
                .send_with("POST", VERIFY, &headers, &form(boundary, end))
                .await;
            assert_eq!(sent.body, r#"{"status":"OK"}"#, "{given} {end:?}");
        }
    }
    for boundary in ["", "\"\"", "x\u{e9}", &"x".repeat(202)] {
        let given = format!("multipart/form-data; boundary={boundary}");
        let sent = door
            .send_with("POST", VERIFY, &[("content-type", &*given)], &form("x", ""))
            .await;
        assert_eq!(sent.status, 400, "{boundary}");
        assert!(sent.body.contains("Invalid boundary"), "{sent:?}");
    }
}

#[tokio::test]
async fn body_is_read_in_its_charset_or_rejected() {
    let door = Door::open().await;
    let json = format!(r#"{{{ADMIN},"name":"caf$","realm":"r"}}"#);
    let form =
        fill("auth_name=admin&auth_realm=ungleich-admin&auth_token=$admin&name=caf$&realm=r");
    let part = parts(&[
        ("name=\"auth_name\"", "admin"),
        ("name=\"auth_realm\"", "ungleich-admin"),
        ("name=\"auth_token\"", "$admin"),
        ("name=\"name\"", "caf$"),
        ("name=\"realm\"", "r"),
    ]);
    let json_type = "application/json; charset=";
    let form_type = "application/x-www-form-urlencoded; charset=";
    let part_type = "multipart/form-data; boundary=x; charset=";
    let (json, part) = (fill(&json), fill(&part));
    for (given, body, bytes, name) in [
        (
            format!("{json_type}utf-8"),
            &json,
            &b"\xc3\xa9"[..],
            Some("é"),
        ),
        (format!("{json_type}iso-8859-1"), &json, b"\xe9", Some("é")),
        (
            format!("{json_type}\"Latin-1\""),
            &json,
            b"\x96",
            Some("\u{96}"),
        ),
        (
            format!("{json_type}windows-1252"),
            &json,
            b"\x96",
            Some("–"),
        ),
        (format!("{json_type}iso-8859-15"), &json, b"\xa4", Some("€")),
        (format!("{json_type}gbk"), &json, b"\xa8\xa6", None),
        (format!("{json_type}utf-16"), &json, b"", None),
        (format!("{form_type}utf-8"), &form, b"%C3%A9", Some("é")),
        (format!("{form_type}latin1"), &form, b"%E9", Some("é")),
        (format!("{form_type}latin1"), &form, b"\xe9%E9", Some("éé")),
        // ungleich-otp read unescaped bytes that are not UTF-8 as Latin 1.
        (format!("{form_type}utf-8"), &form, b"\xe9", Some("é")),
        (format!("{form_type}utf-8"), &form, b"%E9", Some("\u{fffd}")),
        (format!("{form_type}utf-7"), &form, b"", None),
        (format!("{part_type}latin1"), &part, b"\xe9", Some("é")),
        (format!("{part_type}utf-8"), &part, b"\xc3\xa9", Some("é")),
    ] {
        let (before, after) = body.split_once('$').unwrap();
        let body = [before.as_bytes(), bytes, after.as_bytes()].concat();
        let headers = [("content-type", &*given)];
        let sent = door
            .send_bytes("POST", "/ungleichotp/", &headers, body)
            .await;
        let Some(name) = name else {
            assert_eq!(sent.status, 415, "{given}");
            continue;
        };
        let expected = format!(r#""name":"caf{name}","realm":"r""#);
        assert!(sent.body.contains(&expected), "{given}: {sent:?}");
        let id = sent.body.strip_prefix(r#"{"id":"#).unwrap();
        let (id, _) = id.split_once(',').unwrap();
        let path = format!("/ungleichotp/{id}/");
        let admin = format!("{{{ADMIN}}}");
        assert_eq!(door.send("DELETE", &path, &admin).await.status, 204);
    }
}

#[tokio::test]
async fn unknown_field_may_have_any_value() {
    let door = Door::open().await;
    let body = format!(r#"{{"\ud800":1,"\udc00\u0000":{{"\ud800":[]}},{AUTH},{SUBJECT}}}"#);
    door.verify(&body).await.is(200, r#"{"status":"OK"}"#);
    // An escaped name is the same name.
    let body = format!(r#"{{{AUTH},{SUBJECT},"\u0074oken":"x"}}"#);
    door.verify(&body).await.is(403, NOT_ALLOWED);
}

#[tokio::test]
async fn malformed_multipart_form_is_rejected() {
    let door = Door::open().await;
    for (content_type, body) in [
        ("multipart/form-data", parts(&[])),
        (BOUNDARY, "--y--\r\n".to_owned()),
        (BOUNDARY, "--x\r\nname".to_owned()),
    ] {
        let headers = [("content-type", content_type)];
        let sent = door.send_with("POST", VERIFY, &headers, &body).await;
        assert_eq!(sent.status, 400, "{body}");
        let start = r#"{"detail":"Multipart form parse error - "#;
        assert!(sent.body.starts_with(start), "{}", sent.body);
    }
}
