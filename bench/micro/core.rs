//! The cost of the parts of a decision: reading a credential, finding a route, checking a token,
//! and the whole decision with a cached principal. Counts allocations too.
//!
//!   cargo bench -p realmgate-bench --bench core

#![expect(clippy::unwrap_used, reason = "a benchmark that fails ends")]

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use divan::{AllocProfiler, Bencher, black_box};
use futures_util::FutureExt;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use realmgate::auth::{
    Algorithm, Attempt, Authority, Credential, Decision, LocalAuthenticator, Names, NewIdentity,
    Parameters, Policy, Presented, Principal, Rule, Seed, Settings, Source, Store, Terms, Totp,
    UnixTime,
};
use realmgate::config::Config;
use realmgate::doors::lookup;
use realmgate::http::{CredentialHeaders, IdentityHeaders, Scratch};
use realmgate::server::store_options;
use realmgate::store::{self, Intent};
use tempfile::TempDir;
use tokio::runtime::Runtime;

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

const NOW: UnixTime = UnixTime::from_secs(1_800_000_015);
const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

fn main() {
    divan::main();
}

fn names() -> CredentialHeaders {
    CredentialHeaders {
        name: HeaderName::from_static("x-auth-name"),
        realm: HeaderName::from_static("x-auth-realm"),
        token: HeaderName::from_static("x-auth-token"),
        name_chars: 128,
    }
}

/// The headers of a browser-sized request with a credential.
fn headers(credential: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("host", "api.example.org"),
        ("user-agent", "curl/8.5.0"),
        ("accept", "*/*"),
        ("accept-encoding", "gzip, br"),
        ("content-type", "application/json"),
        ("cookie", "session=0123456789abcdef"),
    ]
    .iter()
    .chain(credential)
    {
        headers.append(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
    }
    headers
}

mod credential {
    use super::*;

    #[divan::bench]
    fn three_fields(bencher: Bencher<'_, '_>) {
        let headers = headers(&[
            ("x-auth-name", "billing"),
            ("x-auth-realm", "payments"),
            ("x-auth-token", "492039"),
        ]);
        read(bencher, &headers);
    }

    #[divan::bench]
    fn basic(bencher: Bencher<'_, '_>) {
        let basic = "Basic YmlsbGluZ0BwYXltZW50czo0OTIwMzk=";
        read(bencher, &headers(&[("authorization", basic)]));
    }

    #[divan::bench]
    fn none(bencher: Bencher<'_, '_>) {
        read(bencher, &headers(&[]));
    }

    fn read(bencher: Bencher<'_, '_>, headers: &HeaderMap) {
        let names = names();
        bencher.bench_local(|| {
            let mut scratch = Scratch::new();
            black_box(names.read(black_box(headers), &mut scratch));
        });
    }
}

mod strip {
    use super::*;

    /// Finds the headers to remove from a forwarded request.
    #[divan::bench]
    fn browser(bencher: Bencher<'_, '_>) {
        let identity = IdentityHeaders::new(&names());
        let headers = headers(&[("x-forwarded-for", "192.0.2.1"), ("x-tenant", "a")]);
        bencher.bench_local(|| {
            let removed = |name: &&HeaderName| identity.is_dropped(name, &[]);
            black_box(black_box(&headers).keys().filter(removed).count())
        });
    }
}

mod route {
    use super::*;

    /// Matches the last of `routes` routes, each with its own path, and every second one with a
    /// host.
    #[divan::bench(args = [1, 10, 1_000, 10_000])]
    fn last(bencher: Bencher<'_, '_>, routes: usize) {
        find(
            bencher,
            routes,
            &format!("/api/v1/service-{}/items/7", routes - 1),
        );
    }

    #[divan::bench(args = [1, 10, 1_000, 10_000])]
    fn no_match(bencher: Bencher<'_, '_>, routes: usize) {
        find(bencher, routes, "/nothing/here/to/find");
    }

    fn find(bencher: Bencher<'_, '_>, routes: usize, path: &str) {
        let mut text =
            "service.no_front_proxy = true\n[upstream.app]\npeers = ['127.0.0.1:9']\n".to_owned();
        for at in 0..routes {
            let host = if at % 2 == 1 {
                "host = 'api.example.org'\n"
            } else {
                ""
            };
            text += &format!(
                "[[route]]\nname = 'r{at}'\npath = '/api/v1/service-{at}'\n{host}allow = 'authenticated'\nupstream = 'app'\n"
            );
        }
        let config = Config::parse(&text, "bench", []).unwrap();
        let find = lookup(&config.routes);
        bencher.bench_local(|| {
            black_box(find(
                "api.example.org",
                black_box(path.as_bytes()),
                &Method::GET,
            ))
        });
    }
}

mod token {
    use super::*;

    const CASES: [(Algorithm, u8); 9] = [
        (Algorithm::Sha1, 0),
        (Algorithm::Sha1, 1),
        (Algorithm::Sha1, 3),
        (Algorithm::Sha256, 0),
        (Algorithm::Sha256, 1),
        (Algorithm::Sha256, 3),
        (Algorithm::Sha512, 0),
        (Algorithm::Sha512, 1),
        (Algorithm::Sha512, 3),
    ];

    #[divan::bench(args = CASES)]
    fn right(bencher: Bencher<'_, '_>, (algorithm, window): (Algorithm, u8)) {
        let totp = totp(algorithm);
        let token = totp.token(NOW);
        bencher.bench_local(|| black_box(totp.check(black_box(&token), NOW, window)));
    }

    #[divan::bench(args = CASES)]
    fn wrong(bencher: Bencher<'_, '_>, (algorithm, window): (Algorithm, u8)) {
        let totp = totp(algorithm);
        bencher.bench_local(|| black_box(totp.check(black_box("000000"), NOW, window)));
    }

    fn totp(algorithm: Algorithm) -> Totp {
        let seed = Seed::from_bytes(b"12345678901234567890").unwrap();
        Totp::new(&seed, Parameters::new(algorithm, 6, 30).unwrap())
    }
}

mod authority {
    use super::*;

    #[divan::bench]
    fn cached_and_right(bencher: Bencher<'_, '_>) {
        let parts = Parts::new();
        let token = parts.token.clone();
        parts.decide(bencher, &token, &Policy::Authenticated, true);
    }

    #[divan::bench]
    fn cached_right_and_in_the_allow_list(bencher: Bencher<'_, '_>) {
        let parts = Parts::new();
        let rule = |realm: &str| Rule {
            realm: realm.into(),
            name: Names::All,
        };
        let policy = Policy::Allow([rule("ops"), rule("billing"), rule("payments")].into());
        let token = parts.token.clone();
        parts.decide(bencher, &token, &policy, true);
    }

    #[divan::bench]
    fn cached_and_wrong(bencher: Bencher<'_, '_>) {
        let parts = Parts::new();
        let token = if parts.token == "000000" {
            "000001"
        } else {
            "000000"
        };
        parts.decide(bencher, token, &Policy::Authenticated, false);
    }

    struct Parts {
        authority: Authority,
        token: String,
        runtime: Runtime,
        _folder: TempDir,
    }

    impl Parts {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let runtime = Runtime::new().unwrap();
            let url = format!("sqlite:{}", folder.path().join("bench.db").display());
            let env = [("REALMGATE_STORE_URL".into(), url.into())];
            let config = Config::load(None, env).unwrap();
            let seed = Seed::generate().unwrap();
            let token = Totp::new(&seed, config.totp.parameters).token(NOW);
            let authority = runtime.block_on(async {
                let store: Arc<dyn Store> =
                    store::open(store_options(&config.store).unwrap(), Intent::Create)
                        .await
                        .unwrap();
                let new = NewIdentity {
                    principal: Principal::new("billing", "payments", 128).unwrap(),
                    seed,
                    parameters: config.totp.parameters,
                    terms: Terms::default(),
                };
                store.create(new, NOW).await.unwrap();
                let counts = store.counts(0).await.unwrap();
                let settings = Settings {
                    window: 1,
                    parameters: config.totp.parameters,
                    throttle: config.throttle,
                    one_time_realms: Vec::new(),
                };
                let authenticator = LocalAuthenticator::new(
                    Arc::clone(&store) as _,
                    store as _,
                    settings,
                    &Seed::generate().unwrap(),
                    &counts,
                );
                Authority::new(Arc::new(authenticator), config.realms)
            });
            Self {
                authority,
                token,
                runtime,
                _folder: folder,
            }
        }

        fn decide(&self, bencher: Bencher<'_, '_>, token: &str, policy: &Policy, expected: bool) {
            let credential = Credential::new("billing", "payments", token, 128).unwrap();
            let attempt = Attempt {
                presented: Presented::Credential(credential),
                source: Source::of(Some(SOURCE)),
            };
            // The first decision caches the principal.
            let first = self.authority.decide(&attempt, policy, NOW);
            self.runtime.block_on(first);
            bencher.bench_local(|| {
                let decision = self.authority.decide(black_box(&attempt), policy, NOW);
                let decision = decision.now_or_never().unwrap();
                assert_eq!(matches!(decision, Decision::Permit(_)), expected);
            });
        }
    }
}
