//! The checks, in their order. Each finding has one cause, as far as can be seen from outside: a check whose result
//! would follow from an earlier finding is skipped.

use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use super::front::{Front, front_of};
use super::outcome::{Check, Finding, Outcome};
use super::presented::{headers, wrong_token};
use super::site::{Asked, Received, Site};
use super::{advice, spellings};
use crate::client::Credential;

/// A clock that is further off than this, in seconds, is a finding.
const OFF: i64 = 10;

/// What is examined, and with which credentials.
pub(super) struct Examination<'a> {
    pub(super) site: &'a Site,
    /// The caller that may pass.
    pub(super) caller: &'a Credential,
    /// A caller of another realm that may not.
    pub(super) other: Option<&'a Credential>,
    /// The path of a public page.
    pub(super) public: Option<&'a str>,
    /// The service listener.
    pub(super) service: Option<Site>,
    pub(super) front: Option<Front>,
}

/// Why a check was skipped.
const FOLLOWS: &str = "not checked, because of an earlier finding";

/// The outcomes so far.
pub(super) struct Outcomes<'a> {
    list: Vec<Outcome>,
    pub(super) examination: &'a Examination<'a>,
    pub(super) front: Option<Front>,
    /// Whether the caller's realm has one-time tokens.
    pub(super) is_once: bool,
}

impl Outcomes<'_> {
    /// Adds the result of a check: a fault, or none.
    pub(super) fn add(&mut self, check: Check, fault: Option<String>) {
        self.list.push(outcome(check, fault, self.front));
    }

    pub(super) fn unknown(&mut self, check: Check, why: &'static str) {
        self.list.push(Outcome::unknown(check, why));
    }
}

fn outcome(check: Check, fault: Option<String>, front: Option<Front>) -> Outcome {
    let finding = match fault {
        None => Finding::None,
        Some(what) => Finding::Found {
            what,
            change: advice::of(check, front),
        },
    };
    let check = check.as_str();
    Outcome { check, finding }
}

impl Examination<'_> {
    /// Runs all checks but the one with realmgate stopped.
    ///
    /// # Errors
    /// The server does not respond at all.
    pub(super) fn run(&self) -> io::Result<Vec<Outcome>> {
        let credential = headers(self.caller, None)?;
        let good = match self.site.get(&credential) {
            Ok(good) => good,
            // The certificate, most of the time.
            Err(error) if is_of_tls(&error) => {
                let fault = format!("the TLS handshake fails: {}", in_words(&error));
                return Ok(vec![outcome(Check::Tls, Some(fault), self.front)]);
            }
            Err(error) => return Err(error),
        };
        if !self.site.has_tls() && expects_tls(&good) {
            let fault = "this port expects TLS: use https://".to_owned();
            return Ok(vec![outcome(Check::Tls, Some(fault), self.front)]);
        }
        let mut all = Outcomes {
            list: Vec::new(),
            front: self.front.or_else(|| front_of(&good)),
            examination: self,
            is_once: good.has_passed() && self.site.get(&credential)?.reply.status == 401,
        };
        let plain = "tokens are sent without encryption, and whoever sees one can use it";
        all.add(
            Check::Tls,
            (!self.site.is_private()).then(|| plain.to_owned()),
        );
        all.add(Check::Clock, clock(&good));
        all.access(&good)?;
        Ok(all.list)
    }

    /// Checks that nothing passes while realmgate is stopped.
    pub(super) fn stopped(&self) -> Outcome {
        // Front proxies deny with another status when realmgate does not respond.
        if self.site.get("").is_ok_and(|it| it.reply.status == 401) {
            return Outcome::unknown(
                Check::Stopped,
                "realmgate still responds; stop it, and run the command again",
            );
        }
        let passes = [
            String::new(),
            headers(self.caller, None).unwrap_or_default(),
        ]
        .iter()
        .any(|fields| self.site.get(fields).is_ok_and(|it| it.has_passed()));
        let fault =
            passes.then(|| "requests reach the application while realmgate is stopped".to_owned());
        let front = self
            .front
            .or_else(|| self.site.get("").ok().as_ref().and_then(front_of));
        outcome(Check::Stopped, fault, front)
    }
}

impl Outcomes<'_> {
    /// Runs the checks that depend on each other.
    fn access(&mut self, good: &Received) -> io::Result<()> {
        let it = self.examination;
        let status = good.reply.status;
        let is_denied = matches!(status, 401 | 403 | 407 | 429) || status >= 500;
        let is_good = good.is_shown() || !is_denied;
        let fault = (!is_good).then(|| match status {
            429 => "the caller is throttled (429), perhaps by the wrong tokens of earlier runs"
                .to_owned(),
            _ => format!("a request with a correct token gets {status}"),
        });
        self.add(Check::GoodCredential, fault);
        let nobody = it.site.get("")?;
        let fault = "a request without a credential reaches the application";
        self.add(
            Check::NoCredential,
            nobody.has_passed().then(|| fault.to_owned()),
        );
        if nobody.has_passed() || !is_good {
            use Check::{
                AbsoluteForm, Caches, ForgedHeaders, Identity, Methods, Paths, Token, WrongToken,
            };
            for check in [
                WrongToken,
                Check::OtherRealm,
                Identity,
                Token,
                ForgedHeaders,
                Check::MethodOverride,
                Methods,
                Paths,
                AbsoluteForm,
                Caches,
            ] {
                self.unknown(check, FOLLOWS);
            }
        } else {
            self.shown(good)?;
            self.around()?;
            self.answers(good)?;
            // Last: the failure that it counts may throttle the caller.
            self.credentials()?;
        }
        self.elsewhere(good)
    }

    /// Checks credentials that must not pass.
    fn credentials(&mut self) -> io::Result<()> {
        let it = self.examination;
        let wrong = headers(it.caller, Some(&wrong_token(it.caller)))?;
        let fault = "a request with a wrong token reaches the application";
        let has_passed = it.site.get(&wrong)?.has_passed();
        self.add(Check::WrongToken, has_passed.then(|| fault.to_owned()));
        let Some(other) = it.other else {
            self.unknown(
                Check::OtherRealm,
                "name a caller that may not pass, with --other",
            );
            return Ok(());
        };
        let has_passed = it.site.get(&headers(other, None)?)?.has_passed();
        let who = format!("{}@{}", other.name(), other.realm());
        let fault = format!("{who} reaches the application, and is not meant to");
        self.add(Check::OtherRealm, has_passed.then_some(fault));
        Ok(())
    }

    /// Checks ways around the auth request.
    fn around(&mut self) -> io::Result<()> {
        let it = self.examination;
        let path = it.site.path.as_str();
        let reach = |method: &str, target: &str, fields: &str| {
            let asked = Asked {
                method,
                target,
                fields,
            };
            // No response is no way around.
            it.site.send(&asked).is_ok_and(|answer| answer.has_passed())
        };
        let methods = [
            "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "get",
        ];
        let open: Vec<_> = methods
            .into_iter()
            .filter(|method| reach(method, path, ""))
            .collect();
        let fault = || {
            format!(
                "without a credential, {} requests reach the application",
                open.join(", ")
            )
        };
        self.add(Check::Methods, (!open.is_empty()).then(fault));
        let paths = spellings::of_path(path, it.public);
        let open: Vec<_> = paths
            .iter()
            .filter(|path| reach("GET", path, ""))
            .cloned()
            .collect();
        let fault = || {
            format!(
                "without a credential, these paths reach the application: {}",
                open.join(" ")
            )
        };
        self.add(Check::Paths, (!open.is_empty()).then(fault));
        let (authority, plain) = (&it.site.authority, path);
        let targets = [
            format!("http://{authority}{plain}"),
            format!("https://{authority}{plain}"),
            format!("http://other.invalid{plain}"),
            format!("x:http://{authority}/healthz"),
            "http:healthz".to_owned(),
            format!("http://{authority}/forward-auth"),
            "*".to_owned(),
        ];
        let open: Vec<_> = targets
            .iter()
            .filter(|it| reach("GET", it, ""))
            .cloned()
            .collect();
        let fault = || {
            format!(
                "without a credential, these request targets reach the application: {}",
                open.join(" ")
            )
        };
        self.add(Check::AbsoluteForm, (!open.is_empty()).then(fault));
        Ok(())
    }

    /// Checks the response to an authenticated request.
    fn answers(&mut self, good: &Received) -> io::Result<()> {
        let it = self.examination;
        let mut caching = good.reply.all("cache-control").map(str::to_lowercase);
        let is_private = caching.any(|it| it.contains("private") || it.contains("no-store"));
        let fault = if !is_private {
            Some(
                "a shared cache may store responses to authenticated requests: they lack Cache-Control: private",
            )
        } else if it.site.get("")?.has_passed() {
            Some(
                "a cache gives the response to an authenticated request to one without a credential",
            )
        } else {
            None
        };
        self.add(Check::Caches, fault.map(str::to_owned));
        Ok(())
    }

    /// Checks what does not depend on the decision.
    fn elsewhere(&mut self, good: &Received) -> io::Result<()> {
        let it = self.examination;
        let location = good.reply.header("location").unwrap_or_default();
        let scheme = location.split_once("://");
        let host = scheme.map(|(_, rest)| rest.split(['/', '?', '#']).next().unwrap_or_default());
        let is_elsewhere = host.is_some_and(|host| !host.eq_ignore_ascii_case(&it.site.authority));
        let fault = || {
            format!(
                "the response redirects to {location}; clients that follow it send X-Auth-Token there"
            )
        };
        self.add(Check::Redirects, is_elsewhere.then(fault));
        let metrics = it.site.send(&Asked {
            method: "GET",
            target: "/metrics",
            fields: "",
        });
        let is_open = metrics.is_ok_and(|it| it.reply.text.contains("realmgate_decisions"));
        let fault = "realmgate's metrics can be read here: they show which credentials fail";
        self.add(Check::Metrics, is_open.then(|| fault.to_owned()));
        let Some(service) = &it.service else {
            self.unknown(
                Check::TrustedProxies,
                "name realmgate's service listener with --service",
            );
            return Ok(());
        };
        let described = format!(
            "X-Original-Method: GET\r\nX-Original-URL: http://{}{}\r\n{}",
            it.site.authority,
            it.site.path,
            headers(it.caller, None)?
        );
        let believed = service.send(&Asked {
            method: "GET",
            target: "/forward-auth/nginx",
            fields: &described,
        });
        let is_believed = believed.is_ok_and(|it| matches!(it.reply.status, 200 | 401));
        let fault = "realmgate believes this machine's description of a request, and of its client's address";
        self.add(Check::TrustedProxies, is_believed.then(|| fault.to_owned()));
        Ok(())
    }
}

/// Returns a finding if the clock of the server and of this machine differ.
fn clock(good: &Received) -> Option<String> {
    let date = httpdate::parse_http_date(good.reply.header("date")?).ok()?;
    let secs = |time: SystemTime| {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    };
    let off = secs(date) - secs(SystemTime::now());
    (off.abs() > OFF).then(|| {
        format!("the clock of the server is {off} s off that of this machine; tokens are good for 30 to 90 s")
    })
}

/// Returns whether a response says that a request without TLS was sent to a port for TLS.
fn expects_tls(answer: &Received) -> bool {
    let text = answer.reply.text.to_lowercase();
    answer.reply.status == 400 && text.contains("https")
}

/// Describes why a TLS handshake fails.
fn in_words(error: &io::Error) -> String {
    const WORDS: [(&str, &str); 2] = [
        (
            "CaUsedAsEndEntity",
            "the certificate of the server is that of a CA (basicConstraints CA:TRUE, as `openssl req -x509` makes it by \
             default), which some clients accept and others do not; give the server one with CA:FALSE",
        ),
        (
            "UnknownIssuer",
            "the certificate of the server is not signed by a CA that this machine trusts; SSL_CERT_FILE names a file \
             with other CAs",
        ),
    ];
    let text = error.to_string();
    let known = WORDS.iter().find(|(name, _)| text.contains(name));
    known.map_or(text.clone(), |(_, words)| (*words).to_owned())
}

fn is_of_tls(error: &io::Error) -> bool {
    error
        .get_ref()
        .is_some_and(<dyn std::error::Error + Send + Sync>::is::<rustls::Error>)
}
