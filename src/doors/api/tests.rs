use std::path::Path;
use std::time::{Duration, SystemTime};

use axum::body::Body as HttpBody;
use axum::extract::Request;
use http::header::{ALLOW, CONTENT_TYPE, HeaderName, VARY};
use http::{HeaderMap, StatusCode};
use tempfile::TempDir;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use super::*;
use crate::auth::{
    Administration, Authority, Counts, LocalAuthenticator, NewIdentity, Parameters, Principal,
    Seed, Settings, Store, Terms, ThrottleSettings, Totp, UnixTime,
};
use crate::http::CredentialHeaders;
use crate::store::{Intent, Options, open};

mod answers;
mod bodies;
mod identities;
mod verify;

const ADMIN: &str = r#""auth_name":"admin","auth_realm":"ungleich-admin","auth_token":"$admin""#;
const AUTH: &str = r#""auth_name":"auth","auth_realm":"ungleich-auth","auth_token":"$auth""#;
const USER: &str = r#""auth_name":"user","auth_realm":"ungleich-intern","auth_token":"$user""#;
const SUBJECT: &str = r#""name":"user","realm":"ungleich-intern","token":"$user""#;

const NOT_AUTHENTICATED: &str = r#"{"detail":"Incorrect authentication credentials."}"#;
const NOT_ALLOWED: &str = r#"{"detail":"You do not have permission to perform this action."}"#;
const NOT_FOUND: &str = r#"{"detail":"Not found."}"#;

/// The identities that exist before each test, numbered from 1.
const RESIDENTS: [(&str, &str, &str); 3] = [
    (
        "admin",
        "ungleich-admin",
        "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP",
    ),
    ("auth", "ungleich-auth", "PZKBPTHDGSLZBKIZPZKBPTHDGSLZBKIZ"),
    (
        "user",
        "ungleich-intern",
        "CEKXVG3235PO2HDWCEKXVG3235PO2HDW",
    ),
];

/// The door with a store of its own.
struct Door {
    router: Router,
    _dir: TempDir,
}

/// A response as sent.
#[derive(Debug)]
struct Sent {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Sent {
    fn header(&self, name: HeaderName) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    #[track_caller]
    fn is(&self, status: u16, body: &str) {
        assert_eq!((self.status.as_u16(), &*self.body), (status, body));
    }
}

impl Door {
    async fn open() -> Self {
        Self::with(|_| ()).await
    }

    async fn with(adjust: impl FnOnce(&mut Api)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = open(options(dir.path()), Intent::Create).await.unwrap();
        for (name, realm, seed) in RESIDENTS {
            let new = NewIdentity {
                principal: Principal::new(name, realm, 128).unwrap(),
                seed: Seed::from_base32(seed).unwrap(),
                parameters: Parameters::default(),
                terms: Terms::default(),
            };
            store.create(new, UnixTime::from_secs(0)).await.unwrap();
        }
        let mut api = api(store);
        adjust(&mut api);
        Self {
            router: router(api),
            _dir: dir,
        }
    }

    /// Sends a request with `headers`. In headers and bodies, `$admin`, `$auth` and `$user` stand
    /// for the current tokens.
    async fn send_with(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Sent {
        let body = fill(body).into_bytes();
        self.send_bytes(method, path, headers, body).await
    }

    /// The same with a body that may not be UTF-8.
    async fn send_bytes(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Sent {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, fill(value));
        }
        let request = request.body(HttpBody::from(body)).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        Sent {
            status: parts.status,
            headers: parts.headers,
            body: String::from_utf8(body.to_vec()).unwrap(),
        }
    }

    /// Sends JSON.
    async fn send(&self, method: &str, path: &str, body: &str) -> Sent {
        let json = [("content-type", "application/json")];
        self.send_with(method, path, &json, body).await
    }

    async fn verify(&self, body: &str) -> Sent {
        self.send("POST", "/ungleichotp/verify/", body).await
    }
}

fn options(dir: &Path) -> Options {
    Options::of_file(dir.join("r.db"))
}

fn api(store: Arc<dyn Store>) -> Api {
    let settings = Settings {
        window: 1,
        parameters: Parameters::default(),
        throttle: ThrottleSettings::default(),
        one_time_realms: vec![],
    };
    let authenticator = LocalAuthenticator::new(
        Arc::clone(&store) as _,
        Arc::clone(&store) as _,
        settings,
        &Seed::generate().unwrap(),
        &Counts::default(),
    );
    Api {
        authority: Arc::new(Authority::new(
            Arc::new(authenticator),
            crate::auth::Realms::default(),
        )),
        identities: store,
        recorder: crate::telemetry::Recorder::without_logs(&mut crate::metrics::Registry::new()),
        audit: crate::audit::Audit::default(),
        credential_headers: CredentialHeaders {
            name: HeaderName::from_static("x-auth-name"),
            realm: HeaderName::from_static("x-auth-realm"),
            token: HeaderName::from_static("x-auth-token"),
            name_chars: 128,
        },
        reveal_seeds: false,
        defaults: Parameters::default(),
        changes: TaskTracker::new(),
    }
}

fn token_of(seed: &str) -> String {
    let totp = Totp::new(&Seed::from_base32(seed).unwrap(), Parameters::default());
    totp.token(UnixTime::from(SystemTime::now()))
}

fn fill(text: &str) -> String {
    let mut text = text.to_owned();
    for (name, _, seed) in RESIDENTS {
        text = text.replace(&format!("${name}"), &token_of(seed));
    }
    text
}
