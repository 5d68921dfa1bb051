use data_encoding::BASE64;

use super::*;
use crate::auth::Algorithm;

const OK: &str = r#"{"status":"OK"}"#;
const PATH: &str = "/ungleichotp/verify/";

/// Sends a request of the verifier with `subject`.
async fn as_auth(door: &Door, subject: &str) -> Sent {
    door.verify(&format!("{{{AUTH}, {subject}}}")).await
}

#[tokio::test]
async fn right_tokens_are_ok_in_the_old_servers_shape() {
    let door = Door::open().await;
    let sent = as_auth(&door, SUBJECT).await;
    sent.is(200, OK);
    assert_eq!(sent.header(CONTENT_TYPE), Some("application/json"));
    assert_eq!(sent.header(VARY), Some("Accept"));
    assert_eq!(sent.header(ALLOW), Some("POST, OPTIONS"));
}

#[tokio::test]
async fn wrong_or_unknown_subject_is_not_allowed() {
    let door = Door::open().await;
    for subject in [
        r#""name":"user","realm":"ungleich-intern","token":"x""#,
        r#""name":"nobody","realm":"ungleich-intern","token":"$user""#,
        r#""name":"user","realm":"nowhere","token":"$user""#,
        r#""name":5,"realm":1.5,"token":"$user""#,
        r#""name":"a\nb","realm":"r","token":"$user""#,
    ] {
        as_auth(&door, subject).await.is(403, NOT_ALLOWED);
    }
}

#[tokio::test]
async fn caller_without_the_capability_is_not_allowed() {
    let door = Door::open().await;
    for caller in [ADMIN, USER] {
        let sent = door.verify(&format!("{{{caller}, {SUBJECT}}}")).await;
        sent.is(403, NOT_ALLOWED);
    }
}

#[tokio::test]
async fn malformed_caller_is_not_authenticated_whatever_the_subject() {
    let door = Door::open().await;
    let long = format!(r#""{}""#, "x".repeat(129));
    for field in ["auth_name", "auth_realm", "auth_token"] {
        for value in [
            "null",
            r#""""#,
            r#"" ""#,
            "true",
            r#"["x"]"#,
            "{}",
            &long,
            r#""\ud800""#,
        ] {
            // The last of two equal keys counts.
            let sent = door
                .verify(&format!(r#"{{{AUTH}, "{field}":{value}}}"#))
                .await;
            sent.is(403, NOT_AUTHENTICATED);
        }
    }
    for body in [
        "",
        "{}",
        "[]",
        "null",
        "5",
        "1.5",
        r#""x""#,
        "true",
        r#"{"auth_name":"auth"}"#,
    ] {
        door.verify(body).await.is(403, NOT_AUTHENTICATED);
    }
    door.verify(&format!("{{{SUBJECT}}}"))
        .await
        .is(403, NOT_AUTHENTICATED);
    door.verify(&format!("[{{{AUTH}}}]"))
        .await
        .is(403, NOT_AUTHENTICATED);
}

#[tokio::test]
async fn unusable_subject_field_is_named() {
    let door = Door::open().await;
    let long = format!(r#""{}""#, "é".repeat(129));
    for (value, message) in [
        ("null", "This field may not be null."),
        (r#""""#, "This field may not be blank."),
        (r#""  \n""#, "This field may not be blank."),
        ("true", "Not a valid string."),
        (r#"["x"]"#, "Not a valid string."),
        (r#"{"a": 1}"#, "Not a valid string."),
        (&long, "Ensure this field has no more than 128 characters."),
        (r#""a\u0000b""#, "Null characters are not allowed."),
        (
            r#""\ud800""#,
            "Surrogate characters are not allowed: U+D800.",
        ),
    ] {
        for field in ["name", "realm", "token"] {
            let sent = as_auth(&door, &format!(r#"{SUBJECT}, "{field}":{value}"#)).await;
            sent.is(400, &format!(r#"{{"{field}": ["{message}"]}}"#));
        }
    }
}

#[tokio::test]
async fn name_of_128_characters_is_no_error() {
    let door = Door::open().await;
    let subject = format!(r#"{SUBJECT}, "name":"{}""#, "é".repeat(128));
    as_auth(&door, &subject).await.is(403, NOT_ALLOWED);
}

#[tokio::test]
async fn faults_are_named_in_the_old_servers_order_and_spacing() {
    let door = Door::open().await;
    door.verify(&format!("{{{AUTH}}}")).await.is(
        400,
        r#"{"name": ["This field is required."], "token": ["This field is required."], "realm": ["This field is required."]}"#,
    );
}

#[tokio::test]
async fn white_space_around_a_field_does_not_matter() {
    let door = Door::open().await;
    let subject = r#""name":" user\n","realm":"\tungleich-intern","token":"$user ""#;
    as_auth(&door, subject).await.is(200, OK);
}

#[tokio::test]
async fn integer_token_is_ok_even_with_a_leading_zero() {
    let door = Door::open().await;
    let token: u32 = token_of(RESIDENTS[2].2).parse().unwrap();
    let subject = format!(r#"{SUBJECT}, "token":{token}"#);
    as_auth(&door, &subject).await.is(200, OK);
}

#[tokio::test]
async fn integer_token_of_8_digits_is_ok_with_any_number_of_leading_zeros() {
    let mut store = None;
    let door = Door::with(|api| store = Some(Arc::clone(&api.identities))).await;
    let store = store.unwrap();
    let now = UnixTime::from(SystemTime::now());
    for digits in [6, 7, 8] {
        let parameters = Parameters::new(Algorithm::Sha1, digits, 3600).unwrap();
        let (seed, token) = loop {
            let seed = Seed::generate().unwrap();
            let token = Totp::new(&seed, parameters).token(now);
            if token.starts_with('0') {
                break (seed, token);
            }
        };
        let name = format!("n{digits}");
        let new = NewIdentity {
            principal: Principal::new(&name, "r", 128).unwrap(),
            seed,
            parameters,
            terms: Terms::default(),
        };
        store.create(new, now).await.unwrap();
        let with = |token: &str| format!(r#""name":"{name}","realm":"r","token":{token}"#);
        let number = token.trim_start_matches('0');
        as_auth(&door, &with(&format!(r#""{token}""#)))
            .await
            .is(200, OK);
        as_auth(&door, &with(number)).await.is(200, OK);
        // In a string every digit counts, and a longer number is a different token.
        for wrong in [
            format!(r#""{number}""#),
            format!("9{token}"),
            format!("{number}0"),
        ] {
            as_auth(&door, &with(&wrong)).await.is(403, NOT_ALLOWED);
        }
    }
}

#[tokio::test]
async fn form_is_read_and_its_last_value_counts() {
    let door = Door::open().await;
    let form = [(
        "content-type",
        "application/x-www-form-urlencoded; charset=utf-8",
    )];
    let body = "auth_name=auth&auth_realm=ungleich-auth&auth_token=$auth\
        &name=nobody&name=us%65r&realm=ungleich-intern&token=+$user";
    door.send_with("POST", PATH, &form, body).await.is(200, OK);
}

#[tokio::test]
async fn fields_of_version_0_6_swap_caller_and_subject() {
    let door = Door::open().await;
    let caller = r#""name":"auth","realm":"ungleich-auth","token":"$auth""#;
    let subject = r#""verifyname":"user","verifyrealm":"ungleich-intern","verifytoken":"$user""#;
    door.verify(&format!("{{{caller},{subject}}}"))
        .await
        .is(200, OK);
    door.verify(&format!(r#"{{{caller},{subject},"verifytoken":"x"}}"#))
        .await
        .is(403, NOT_ALLOWED);
    door.verify(&format!(r#"{{{caller},{subject},"token":"x"}}"#))
        .await
        .is(403, NOT_AUTHENTICATED);
    door.verify(&format!(r#"{{{caller},"verifyname":"user"}}"#)).await.is(
        400,
        r#"{"verifytoken": ["This field is required."], "verifyrealm": ["This field is required."]}"#,
    );
}

#[tokio::test]
async fn fields_of_version_0_8_win_over_those_of_0_6() {
    let door = Door::open().await;
    let subject = format!(r#"{SUBJECT},"verifyname":"nobody""#);
    as_auth(&door, &subject).await.is(200, OK);
}

const HEADERS: [(&str, &str); 4] = [
    ("content-type", "application/json"),
    ("x-auth-name", "auth"),
    ("x-auth-realm", "ungleich-auth"),
    ("x-auth-token", "$auth"),
];

#[tokio::test]
async fn caller_may_stand_in_the_headers() {
    let door = Door::open().await;
    let body = format!("{{{SUBJECT}}}");
    door.send_with("POST", PATH, &HEADERS, &body)
        .await
        .is(200, OK);
    let token = token_of(RESIDENTS[1].2);
    let basic = BASE64.encode(format!("auth@ungleich-auth:{token}").as_bytes());
    let basic = format!("Basic {basic}");
    let headers = [HEADERS[0], ("authorization", &*basic)];
    door.send_with("POST", PATH, &headers, &body)
        .await
        .is(200, OK);
}

#[tokio::test]
async fn caller_in_headers_and_body_is_not_authenticated() {
    let door = Door::open().await;
    let body = format!("{{{AUTH},{SUBJECT}}}");
    let sent = door.send_with("POST", PATH, &HEADERS, &body).await;
    sent.is(403, NOT_AUTHENTICATED);
    let basic = format!(
        "Basic {}",
        BASE64.encode(fill("auth@ungleich-auth:$auth").as_bytes())
    );
    let headers = [HEADERS[0], ("authorization", &*basic)];
    let sent = door.send_with("POST", PATH, &headers, &body).await;
    sent.is(403, NOT_AUTHENTICATED);
}

#[tokio::test]
async fn incomplete_credential_headers_do_not_affect_the_body() {
    let door = Door::open().await;
    let body = format!("{{{AUTH},{SUBJECT}}}");
    let basic = |text: &str| format!("Basic {}", BASE64.encode(text.as_bytes()));
    let mut foreign: Vec<String> = ["", "Basic", "Basic ", "Basic !!!", "Bearer x", "Negotiate"]
        .map(str::to_owned)
        .to_vec();
    foreign.extend(
        [
            "nginx:secret",
            "nginx:123456",
            "nginx@host:secret",
            "nginx@host:12345",
            "nginx@host:123456789",
            "@host:123456",
            ":",
        ]
        .map(basic),
    );
    for value in &foreign {
        let headers = [HEADERS[0], ("authorization", value.as_str())];
        let sent = door.send_with("POST", PATH, &headers, &body).await;
        assert_eq!(sent.body, OK, "{value}");
        let twice = [headers[0], headers[1], headers[1]];
        let sent = door.send_with("POST", PATH, &twice, &body).await;
        assert_eq!(sent.body, OK, "{value} twice");
        // Nor the token in the three headers.
        let headers = [&HEADERS[..], &headers[1..]].concat();
        let sent = door
            .send_with("POST", PATH, &headers, &format!("{{{SUBJECT}}}"))
            .await;
        assert_eq!(sent.body, OK, "{value} beside three fields");
    }
    for lone in [
        &[("x-auth-token", "123456")][..],
        &[("x-auth-token", "")],
        &[("x-auth-token", "1"), ("x-auth-token", "2")],
        &[("x-auth-name", "auth"), ("x-auth-realm", "ungleich-auth")],
        &[
            ("x-auth-name", "auth"),
            ("x-auth-realm", "ungleich-auth"),
            ("x-auth-token", ""),
        ],
    ] {
        let headers = [&HEADERS[..1], lone].concat();
        let sent = door.send_with("POST", PATH, &headers, &body).await;
        assert_eq!(sent.body, OK, "{lone:?}");
        // Without the token in the body, it is not a credential.
        let sent = door
            .send_with("POST", PATH, &headers, &format!("{{{SUBJECT}}}"))
            .await;
        sent.is(403, NOT_AUTHENTICATED);
    }
}

#[tokio::test]
async fn body_without_fields_is_named_to_a_caller_in_the_headers() {
    let door = Door::open().await;
    for (body, message) in [
        ("[]", "Invalid data. Expected a dictionary, but got list."),
        ("1.5", "Invalid data. Expected a dictionary, but got float."),
        ("null", "No data provided"),
    ] {
        let sent = door.send_with("POST", PATH, &HEADERS, body).await;
        sent.is(400, &format!(r#"{{"non_field_errors": ["{message}"]}}"#));
    }
}

#[tokio::test]
async fn credential_in_the_query_is_not_read() {
    let door = Door::open().await;
    let query = fill("auth_name=auth&auth_realm=ungleich-auth&auth_token=$auth");
    let path = format!("{PATH}?{query}");
    let sent = door.send("POST", &path, &format!("{{{SUBJECT}}}")).await;
    sent.is(403, NOT_AUTHENTICATED);
}

#[tokio::test]
async fn other_methods_are_rejected_after_authentication() {
    let door = Door::open().await;
    let body = format!("{{{AUTH},{SUBJECT}}}");
    for method in ["GET", "PUT", "PATCH", "DELETE", "TRACE", "PURGE"] {
        door.send(method, PATH, "").await.is(403, NOT_AUTHENTICATED);
        let sent = door.send(method, PATH, &body).await;
        sent.is(
            405,
            &format!(r#"{{"detail":"Method \"{method}\" not allowed."}}"#),
        );
        assert_eq!(sent.header(ALLOW), Some("POST, OPTIONS"));
    }
    door.send("HEAD", PATH, "").await.is(403, "");
    door.send("HEAD", PATH, &body).await.is(405, "");
    door.send("OPTIONS", PATH, "")
        .await
        .is(403, NOT_AUTHENTICATED);
    let sent = door.send("OPTIONS", PATH, &body).await;
    assert_eq!(sent.status, 200);
    assert!(sent.body.contains(r#""actions":{"POST""#), "{sent:?}");
    // A caller who may not verify learns nothing about the fields.
    let sent = door.send("OPTIONS", PATH, &format!("{{{USER}}}")).await;
    assert_eq!(sent.status, 200);
    assert!(!sent.body.contains("actions"), "{sent:?}");
}
