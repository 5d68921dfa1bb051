//! The tour: requests to each door, and the expected responses.

use std::net::SocketAddr;

use serde_json::Value;

use super::actor::Actor;
use super::call::{Call, Reply};
use crate::cli::error::CliError;
use crate::cli::output::{BAD, DIM, GOOD, STRONG, line};

const IAC: &str = r#"{"detail":"Incorrect authentication credentials."}"#;
const NOPERM: &str = r#"{"detail":"You do not have permission to perform this action."}"#;

/// The addresses and identities of the demo.
pub(super) struct Scene {
    pub(super) gateway: SocketAddr,
    pub(super) service_listener: SocketAddr,
    pub(super) admin: Actor,
    pub(super) verifier: Actor,
    pub(super) service: Actor,
}

/// The state of the tour.
pub(super) struct Tour<'a> {
    scene: &'a Scene,
    surprises: usize,
}

/// Checks a response beyond its status.
type Check = fn(&Scene, &Reply) -> bool;

impl<'a> Tour<'a> {
    pub(super) fn new(scene: &'a Scene) -> Self {
        Self {
            scene,
            surprises: 0,
        }
    }

    /// Sends every request. Returns the number of unexpected responses.
    pub(super) async fn make(mut self) -> Result<usize, CliError> {
        self.proxy().await?;
        self.forward_auth().await?;
        self.rest().await?;
        Ok(self.surprises)
    }

    async fn proxy(&mut self) -> Result<(), CliError> {
        heading("the transparent proxy");
        let (scene, service) = (self.scene, &self.scene.service);
        let url = |path: &str| format!("http://{}{path}", scene.gateway);
        let api = url("/api/invoices");
        let none = Call {
            url: api.clone(),
            ..Call::default()
        };
        self.step("no credential", none, 401, is_challenge).await?;
        let good = by_headers(api.clone(), service, service.token());
        self.step(
            "valid headers: what the upstream received",
            good,
            200,
            saw_identity,
        )
        .await?;
        let basic = Call {
            url: api.clone(),
            user: Some(format!(
                "{}@{}:{}",
                service.name,
                service.realm,
                service.token()
            )),
            ..Call::default()
        };
        self.step(
            "name@realm and token as user and password",
            basic,
            200,
            saw_identity,
        )
        .await?;
        let elsewhere = by_headers(url("/ops/restart"), service, service.token());
        self.step("a route for another realm", elsewhere, 403, any)
            .await?;
        let wrong = by_headers(api, service, service.wrong_token());
        self.step("a wrong token", wrong, 401, is_challenge).await?;
        let public = Call {
            url: url("/public"),
            headers: vec![
                ("X-Auth-Name", "admin".into()),
                ("X-Forwarded-User", "root".into()),
            ],
            ..Call::default()
        };
        self.step(
            "a public route: forged identity headers are removed",
            public,
            200,
            saw_nobody,
        )
        .await
    }

    async fn forward_auth(&mut self) -> Result<(), CliError> {
        heading("forward-auth, as nginx calls it");
        let (scene, service) = (self.scene, &self.scene.service);
        let ask = |path: &str, call: Call| {
            let mut call = call;
            call.url = format!("http://{}/forward-auth/nginx", scene.service_listener);
            call.headers.push(("X-Original-Method", "GET".into()));
            let original = format!("https://shop.example{path}");
            call.headers.push(("X-Original-URL", original));
            call
        };
        let good = || by_headers(String::new(), service, service.token());
        let call = ask("/api/invoices", good());
        self.step("valid headers", call, 200, names_identity)
            .await?;
        let call = ask("/api/invoices", Call::default());
        self.step("no credential", call, 401, is_bodiless_challenge)
            .await?;
        let call = ask("/ops/restart", good());
        self.step("a route for another realm", call, 403, is_bodiless)
            .await
    }

    async fn rest(&mut self) -> Result<(), CliError> {
        heading("REST verify");
        let Scene {
            verifier,
            service,
            admin,
            ..
        } = self.scene;
        let call = self.verify(verifier, &verifier.token(), &service.token());
        self.step("a verifier checks a valid token", call, 200, |_, reply| {
            reply.body == r#"{"status":"OK"}"#
        })
        .await?;
        let call = self.verify(verifier, &verifier.token(), &service.wrong_token());
        self.step("a verifier checks a wrong token", call, 403, |_, reply| {
            reply.body == NOPERM
        })
        .await?;
        let call = self.verify(verifier, &verifier.wrong_token(), &service.token());
        self.step(
            "the verifier's own token is wrong",
            call,
            403,
            |_, reply| reply.body == IAC,
        )
        .await?;
        let call = Call {
            url: format!("http://{}/ungleichotp/", self.scene.service_listener),
            headers: headers(admin, admin.token()),
            ..Call::default()
        };
        self.step(
            "an admin lists the identities, without their seeds",
            call,
            200,
            |_, reply| reply.body.contains(r#""name":"billing""#) && !reply.body.contains("seed"),
        )
        .await
    }

    fn verify(&self, caller: &Actor, auth_token: &str, token: &str) -> Call {
        let subject = &self.scene.service;
        let body = serde_json::json!({
            "auth_name": caller.name, "auth_realm": caller.realm, "auth_token": auth_token,
            "name": subject.name, "realm": subject.realm, "token": token,
        });
        Call {
            url: format!("http://{}/ungleichotp/verify/", self.scene.service_listener),
            json: Some(body.to_string()),
            ..Call::default()
        }
    }

    async fn step(
        &mut self,
        title: &str,
        call: Call,
        expected: u16,
        check: Check,
    ) -> Result<(), CliError> {
        line(&format!("\n  {title}\n  {DIM}$ {}{DIM:#}", call.curl()));
        let reply = call.make().await.map_err(CliError::Demo)?;
        let is_right = reply.status == expected && check(self.scene, &reply);
        let (style, mark) = if is_right {
            (GOOD, "✓")
        } else {
            self.surprises += 1;
            (BAD, "✗")
        };
        line(&format!(
            "  {style}{mark} {}{style:#} {}",
            reply.status,
            shown(&reply)
        ));
        if !is_right {
            line(&format!(
                "  {BAD}expected {expected} with other content{BAD:#}"
            ));
        }
        Ok(())
    }
}

impl Scene {
    /// Returns commands that work as long as the demo runs.
    /// Returns where the admin page is, and how to log in.
    pub(super) fn admin_page(&self, origin: &str, link: &str) -> String {
        let (program, admin) = (program(), &self.admin);
        format!(
            "{STRONG}Admin page{STRONG:#}, with a link that logs in once, within a minute:\n\n {link}\n\n\
             Later, at {origin} as {}, with the token of: {program} token --seed {}\n",
            admin.name,
            *admin.seed.to_base32(),
        )
    }

    pub(super) fn live_commands(&self) -> String {
        let program = program();
        let token =
            |actor: &Actor| format!("$({program} token --seed {})", *actor.seed.to_base32());
        let (service, verifier, admin) = (&self.service, &self.verifier, &self.admin);
        format!(
            "\n{STRONG}The server keeps running; copy these commands, stop with Ctrl-C{STRONG:#}\n\n\
             curl -u \"{}@{}:{}\" http://{}/api/invoices\n\n\
             curl -i -H 'X-Auth-Name: {}' -H 'X-Auth-Realm: {}' -H \"X-Auth-Token: {}\" http://{}/forward-auth\n\n\
             curl -d \"auth_name={}&auth_realm={}&auth_token={}&name={}&realm={}&token={}\" http://{}/ungleichotp/verify/\n\n\
             curl -H 'X-Auth-Name: {}' -H 'X-Auth-Realm: {}' -H \"X-Auth-Token: {}\" http://{}/ungleichotp/\n",
            service.name,
            service.realm,
            token(service),
            self.gateway,
            service.name,
            service.realm,
            token(service),
            self.service_listener,
            verifier.name,
            verifier.realm,
            token(verifier),
            service.name,
            service.realm,
            token(service),
            self.service_listener,
            admin.name,
            admin.realm,
            token(admin),
            self.service_listener,
        )
    }
}

fn program() -> String {
    let path = std::env::current_exe();
    path.map_or_else(
        |_| "realmgate".to_owned(),
        |path| path.display().to_string(),
    )
}

fn heading(text: &str) {
    line(&format!("\n{STRONG}{text}{STRONG:#}"));
}

fn by_headers(url: String, actor: &Actor, token: String) -> Call {
    Call {
        url,
        headers: headers(actor, token),
        ..Call::default()
    }
}

fn headers(actor: &Actor, token: String) -> Vec<(&'static str, String)> {
    vec![
        ("X-Auth-Name", actor.name.to_owned()),
        ("X-Auth-Realm", actor.realm.to_owned()),
        ("X-Auth-Token", token),
    ]
}

/// Returns the interesting part of a response: the body, or the headers that name the identity.
fn shown(reply: &Reply) -> String {
    if !reply.body.is_empty() {
        return reply.body.trim_end().to_owned();
    }
    let named: Vec<_> = ["x-auth-name", "x-auth-realm", "www-authenticate"]
        .into_iter()
        .filter_map(|name| {
            Some(format!(
                "{name}: {}",
                reply.headers.get(name)?.to_str().ok()?
            ))
        })
        .collect();
    named.join(", ")
}

fn any(_: &Scene, _: &Reply) -> bool {
    true
}

fn is_bodiless(_: &Scene, reply: &Reply) -> bool {
    reply.body.is_empty()
}

fn is_challenge(_: &Scene, reply: &Reply) -> bool {
    reply.headers.contains_key("www-authenticate")
}

fn is_bodiless_challenge(scene: &Scene, reply: &Reply) -> bool {
    is_bodiless(scene, reply) && is_challenge(scene, reply)
}

fn names_identity(scene: &Scene, reply: &Reply) -> bool {
    let field = |name| reply.headers.get(name).map(http::HeaderValue::as_bytes);
    is_bodiless(scene, reply)
        && field("x-auth-name") == Some(scene.service.name.as_bytes())
        && field("x-auth-realm") == Some(scene.service.realm.as_bytes())
}

fn saw_identity(scene: &Scene, reply: &Reply) -> bool {
    let service = &scene.service;
    let user = format!("{}@{}", service.name, service.realm);
    let seen = seen(reply);
    seen("x-auth-name").as_deref() == Some(service.name)
        && seen("x-auth-realm").as_deref() == Some(service.realm)
        && seen("x-forwarded-user") == Some(user)
        && seen("x-auth-token").is_none()
        && seen("authorization").is_none()
}

fn saw_nobody(_: &Scene, reply: &Reply) -> bool {
    let seen = seen(reply);
    seen("x-auth-name").is_none() && seen("x-forwarded-user").is_none()
}

fn seen(reply: &Reply) -> impl Fn(&str) -> Option<String> {
    let seen: Value = serde_json::from_str(&reply.body).unwrap_or_default();
    move |name| Some(seen.get("headers")?.get(name)?.as_str()?.to_owned())
}
