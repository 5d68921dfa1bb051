use async_trait::async_trait;
use http::header::{LOCATION, RETRY_AFTER};

use super::*;
use crate::api::caller;
use crate::auth::{
    Change, ChangeError, Denial, Identity, IdentityId, PrincipalRef, Recall, StoreError,
};

const VERIFY: &str = "/ungleichotp/verify/";
const PAGE: &str = "<h1>Not Found</h1><p>The requested resource was not found on this server.</p>";

#[tokio::test]
async fn missing_slash_is_redirected_without_a_credential() {
    let door = Door::open().await;
    for (path, location) in [
        ("/ungleichotp", "/ungleichotp/"),
        ("/ungleichotp/verify", "/ungleichotp/verify/"),
        ("/ungleichotp/4?limit=1", "/ungleichotp/4/?limit=1"),
    ] {
        for method in ["GET", "POST", "DELETE"] {
            let sent = door.send(method, path, "").await;
            sent.is(301, "");
            assert_eq!(sent.header(LOCATION), Some(location));
            assert_eq!(sent.header(CONTENT_TYPE), Some("text/html; charset=utf-8"));
            assert_eq!(sent.header(ALLOW), None);
        }
    }
}

#[tokio::test]
async fn other_paths_are_the_old_page() {
    let door = Door::open().await;
    for path in [
        "/",
        "/nope/",
        "/ungleichotp/verify.json",
        "/ungleichotp.json",
        "/ungleichotp/4.json/",
        "/ungleichotp/a%2Fb/",
        "/ungleichotp/4/x/",
        "/ungleichotp//verify/",
    ] {
        for method in ["GET", "POST"] {
            let sent = door.send(method, path, "").await;
            sent.is(404, PAGE);
            assert_eq!(sent.header(CONTENT_TYPE), Some("text/html"), "{path}");
        }
    }
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
        (r#"{"a": NaN}"#, "Expecting value: line 1 column 7 (char 6)"),
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
async fn body_of_another_type_is_refused() {
    let door = Door::open().await;
    let body = format!("{{{AUTH},{SUBJECT}}}");
    for given in ["text/plain", "", "multipart/form-data; boundary=x"] {
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
async fn format_other_than_json_is_refused() {
    let door = Door::open().await;
    let body = format!("{{{AUTH},{SUBJECT}}}");
    let headers = [
        ("content-type", "application/json"),
        ("accept", "application/xml"),
    ];
    let sent = door.send_with("POST", VERIFY, &headers, &body).await;
    sent.is(
        406,
        r#"{"detail":"Could not satisfy the request Accept header."}"#,
    );
    assert_eq!(sent.header(ALLOW), Some("POST, OPTIONS"));
    let sent = door
        .send("POST", "/ungleichotp/verify/?format=json", &body)
        .await;
    sent.is(200, r#"{"status":"OK"}"#);
    let sent = door
        .send("POST", "/ungleichotp/verify/?format=xml", &body)
        .await;
    sent.is(404, NOT_FOUND);
}

#[test]
fn throttled_caller_is_told_when_to_come_back() {
    let denial = Denial::Throttled {
        retry_after: Duration::from_millis(1500),
    };
    let response = caller::answer(&denial).render("POST");
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    assert_eq!(response.headers()[RETRY_AFTER], "2");
}

#[tokio::test]
async fn store_that_cannot_answer_is_unavailable() {
    let dir = tempfile::tempdir().unwrap();
    let door = Door {
        router: router(api(Arc::new(Silent))),
        _dir: dir,
    };
    let detail = r#"{"detail":"Service temporarily unavailable."}"#;
    let sent = door.verify(&format!("{{{AUTH},{SUBJECT}}}")).await;
    sent.is(503, detail);
    assert_eq!(sent.header(CONTENT_TYPE), Some("application/json"));
    let sent = door
        .send("GET", "/ungleichotp/", &format!("{{{ADMIN}}}"))
        .await;
    sent.is(503, detail);
}

/// A store that is down.
struct Silent;

#[async_trait]
impl Store for Silent {
    fn recall(&self, _: PrincipalRef<'_>) -> Recall {
        Recall::Nothing
    }

    async fn identity(&self, _: PrincipalRef<'_>) -> Result<Option<Arc<Identity>>, StoreError> {
        Err(StoreError::Timeout)
    }

    async fn identity_by_id(&self, _: IdentityId) -> Result<Option<Arc<Identity>>, StoreError> {
        Err(StoreError::Timeout)
    }

    async fn identities(&self, _: IdentityId, _: u32) -> Result<Vec<Arc<Identity>>, StoreError> {
        Err(StoreError::Timeout)
    }

    async fn create(&self, _: NewIdentity, _: UnixTime) -> Result<Arc<Identity>, ChangeError> {
        Err(StoreError::Timeout.into())
    }

    async fn update(
        &self,
        _: IdentityId,
        _: Change,
        _: UnixTime,
    ) -> Result<Option<Arc<Identity>>, ChangeError> {
        Err(StoreError::Timeout.into())
    }

    async fn delete(&self, _: IdentityId) -> Result<bool, StoreError> {
        Err(StoreError::Timeout)
    }

    async fn ping(&self) -> Result<(), StoreError> {
        Err(StoreError::Timeout)
    }
}
