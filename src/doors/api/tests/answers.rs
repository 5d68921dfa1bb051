use async_trait::async_trait;
use http::header::{LOCATION, RETRY_AFTER};

use super::*;
use crate::auth::{
    Administration, Change, ChangeError, Changed, Counters, Denial, Identities, Identity,
    IdentityId, ImportedIdentity, PrincipalRef, Recall, Sessions, StoreError,
};
use crate::auth::{Step, Throttled, UsageBatch};
use crate::doors::api::caller;
use crate::doors::api::encode::Format;

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
        "/nope/",
        "/ungleichotp.xml",
        "/ungleichotp/4.xml",
        "/ungleichotp/4.xml/",
        "/ungleichotp/verify.jsonx",
        "/ungleichotp/4.x.json",
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
async fn format_other_than_json_is_rejected() {
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
fn throttled_caller_gets_retry_after() {
    let denial = Denial::Throttled {
        retry_after: Duration::from_millis(1500),
        whom: Throttled::Principal,
    };
    let response = caller::denied(&denial).render("POST", Format::default());
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    assert_eq!(response.headers()[RETRY_AFTER], "2");
}

#[tokio::test]
async fn store_that_does_not_respond_is_unavailable() {
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

/// A store that always fails.
struct Silent;

#[async_trait]
impl Identities for Silent {
    fn recall(&self, _: PrincipalRef<'_>) -> Recall {
        Recall::Nothing
    }

    fn recall_unknown(&self, _: PrincipalRef<'_>) {}

    async fn identity(&self, _: PrincipalRef<'_>) -> Result<Option<Arc<Identity>>, StoreError> {
        Err(StoreError::Timeout)
    }

    async fn ping(&self) -> Result<(), StoreError> {
        Err(StoreError::Timeout)
    }
}

#[async_trait]
impl Counters for Silent {
    async fn use_step(&self, _: IdentityId, _: Step, _: u8) -> Result<bool, StoreError> {
        unreachable!()
    }

    async fn counts(&self, _: i64) -> Result<Counts, StoreError> {
        unreachable!()
    }

    async fn save(&self, _: UsageBatch) -> Result<(), StoreError> {
        unreachable!()
    }
}

#[async_trait]
impl Administration for Silent {
    async fn identity_by_id(&self, _: IdentityId) -> Result<Option<Arc<Identity>>, StoreError> {
        Err(StoreError::Timeout)
    }

    async fn identities(
        &self,
        _: &crate::auth::Selection,
        _: IdentityId,
        _: u32,
    ) -> Result<crate::auth::Rows, StoreError> {
        Err(StoreError::Timeout)
    }

    async fn create(&self, _: NewIdentity, _: UnixTime) -> Result<Arc<Identity>, ChangeError> {
        Err(StoreError::Timeout.into())
    }

    async fn import(
        &self,
        _: Vec<ImportedIdentity>,
        _: UnixTime,
    ) -> Result<Vec<crate::auth::Imported>, ChangeError> {
        Err(StoreError::Timeout.into())
    }

    async fn reserve(&self, _: IdentityId) -> Result<(), ChangeError> {
        Err(StoreError::Timeout.into())
    }

    async fn update(
        &self,
        _: IdentityId,
        _: Change,
        _: UnixTime,
    ) -> Result<Option<Changed>, ChangeError> {
        Err(StoreError::Timeout.into())
    }

    async fn create_all(
        &self,
        _: Vec<crate::auth::Creation>,
        _: UnixTime,
    ) -> Result<Vec<crate::auth::Created>, ChangeError> {
        Err(StoreError::Timeout.into())
    }

    async fn delete(
        &self,
        _: IdentityId,
        _: Option<crate::auth::Version>,
    ) -> Result<Option<crate::auth::Deleted>, ChangeError> {
        Err(StoreError::Timeout.into())
    }

    async fn realms(&self, _: &str, _: u32) -> Result<Vec<crate::auth::RealmCount>, StoreError> {
        Err(StoreError::Timeout)
    }
}

#[async_trait]
impl crate::auth::ChangeLog for Silent {
    fn position(&self) -> i64 {
        0
    }

    async fn changes(&self, _: i64, _: u32) -> Result<crate::auth::ChangesAfter, StoreError> {
        Err(StoreError::Timeout)
    }
}

#[async_trait]
impl Sessions for Silent {}

#[async_trait]
impl crate::auth::Nodes for Silent {}

#[async_trait]
impl Store for Silent {
    async fn checkpoint(&self) {}
}

#[tokio::test]
async fn indentation_is_as_requested_except_in_faults_of_verify() {
    let door = Door::open().await;
    let headers = [
        ("content-type", "application/json"),
        ("accept", "application/json; indent=4"),
    ];
    let body = format!("{{{ADMIN}}}");
    let sent = door
        .send_with("GET", "/ungleichotp/2/", &headers, &body)
        .await;
    sent.is(
        200,
        "{\n    \"id\": 2,\n    \"name\": \"auth\",\n    \"realm\": \"ungleich-auth\"\n}",
    );
    let body = format!("{{{AUTH}}}");
    let sent = door.send_with("POST", VERIFY, &headers, &body).await;
    assert_eq!(sent.status, 400);
    assert!(!sent.body.contains('\n'));
    let body = format!("{{{ADMIN},\"name\":\"a\u{2028}b\",\"realm\":\"\u{2029}r\u{2029}c\"}}");
    let sent = door
        .send_with("POST", "/ungleichotp/", &headers, &body)
        .await;
    assert_eq!(sent.status, 201);
    assert!(
        sent.body.contains("\n    \"name\": \"a\\u2028b\""),
        "{sent:?}"
    );
    let list = format!("{{{ADMIN}}}");
    for path in ["/ungleichotp/", "/ungleichotp/4/"] {
        let sent = door.send_with("GET", path, &headers, &list).await;
        assert!(sent.body.contains("\"a\\u2028b\""), "{sent:?}");
        assert!(!sent.body.contains(['\u{2028}', '\u{2029}']), "{sent:?}");
    }
}

#[tokio::test]
async fn root_links_to_the_identities_for_authenticated_callers() {
    let door = Door::open().await;
    door.send("GET", "/", "").await.is(403, NOT_AUTHENTICATED);
    let headers = [
        ("content-type", "application/json"),
        ("host", "otp.example"),
    ];
    let user = format!("{{{USER}}}");
    let sent = door.send_with("GET", "/", &headers, &user).await;
    sent.is(200, r#"{"ungleichotp":"http://otp.example/ungleichotp/"}"#);
    assert_eq!(sent.header(ALLOW), Some("GET, HEAD, OPTIONS"));
    // An absolute URI contains the host, as in HTTP/2.
    let sent = door
        .send_with("GET", "https://a.example:8443/", &headers[..1], &user)
        .await;
    sent.is(
        200,
        r#"{"ungleichotp":"http://a.example:8443/ungleichotp/"}"#,
    );
    let sent = door.send_with("GET", "/", &headers[..1], &user).await;
    sent.is(200, r#"{"ungleichotp":"/ungleichotp/"}"#);
    let sent = door.send_with("POST", "/", &headers, &user).await;
    sent.is(405, r#"{"detail":"Method \"POST\" not allowed."}"#);
}

#[tokio::test]
async fn path_may_name_the_format_json() {
    let door = Door::open().await;
    let admin = format!("{{{ADMIN}}}");
    let both = format!("{{{AUTH},{SUBJECT}}}");
    for slash in ["", "/"] {
        let path = format!("/ungleichotp.json{slash}");
        let list = door.send("GET", &path, &admin).await;
        assert!(list.body.starts_with(r#"[{"id":1,"#));
        let path = format!("/ungleichotp/2.json{slash}");
        door.send("GET", &path, &admin)
            .await
            .is(200, r#"{"id":2,"name":"auth","realm":"ungleich-auth"}"#);
        let path = format!("/ungleichotp/verify.json{slash}");
        door.send("POST", &path, &both)
            .await
            .is(200, r#"{"status":"OK"}"#);
    }
}
