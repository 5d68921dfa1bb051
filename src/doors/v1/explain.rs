//! Explains how a request would be decided.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;

use super::call::{self, json};
use super::problem::{Kind, Problem, field_error};
use super::query::Query;
use super::routes::{effects, methods, mode, policy, texts, upstream};
use super::state::V1;
use super::types::{Explained, Fate, Inquiry, Misfit, Reading, Tried};
use crate::auth::{
    Capability, Denial, DenialCause, Foresight, Mode, Policy, PrincipalRef, Source, split_user,
};
use crate::config::{Config, NetworkSet};
use crate::doors::explain::{
    self, Detail, Explainer, Explanation, REJECTED_SUB_REQUEST, Rejected, statuses,
};

/// Explain a request
///
/// Which route and rule would decide it, and why, without sending it.
#[utoipa::path(
    post, path = "/v1/explain", operation_id = "explain", tag = "server",
    request_body(content = Inquiry),
    responses((status = 200, body = Explained, description = "The explanation")),
)]
pub(super) async fn explain(State(api): State<Arc<V1>>, request: Request) -> Response {
    call::handle(&api, request, Capability::List, async |call, _| {
        let mut call = call;
        Query::of(&call.uri).end()?;
        let inquiry: Inquiry = call.json(&api, &["application/json"]).await?;
        check(&inquiry)?;
        let config = api.config.load_full();
        let foresight = match inquiry.who.as_deref() {
            None => Foresight::no_credential(),
            Some(who) => {
                let limit = config.credential_headers.name_chars;
                let parts = split_user(who).ok();
                let who = parts
                    .and_then(|(name, realm)| PrincipalRef::new(name, realm, limit).ok())
                    .ok_or_else(|| Problem::field(Kind::Invalid, "as", "expected NAME@REALM"))?;
                let source = Source::of(inquiry.from);
                api.authenticator.foresee(who, source, call.now).await?
            }
        };
        let client = inquiry.from;
        let explained = explained(&config, (&inquiry.method, &inquiry.url, client), &foresight);
        json(StatusCode::OK, &explained.await)
    })
    .await
}

/// Checks the lengths that the document names.
fn check(inquiry: &Inquiry) -> Result<(), Problem> {
    let mut errors = Vec::new();
    let who = inquiry.who.as_deref().unwrap_or("-");
    for (field, text, most) in [
        ("method", inquiry.method.as_str(), 64),
        ("url", &inquiry.url, 16_384),
        ("as", who, 300),
    ] {
        if text.is_empty() || text.chars().count() > most {
            errors.push(field_error(
                field,
                format!("expected 1 to {most} characters"),
            ));
        }
    }
    match errors.is_empty() {
        true => Ok(()),
        false => Err(Problem::invalid(errors)),
    }
}

/// Explains how `config` decides a request. `url` is a URL, or a path and query; `from` is the
/// address that a trusted party names.
pub async fn explained(
    config: &Config,
    request: (&str, &str, Option<IpAddr>),
    foresight: &Foresight<'_>,
) -> Explained {
    account(&Explainer::new(config), request, foresight, Detail::Tried).await
}

/// As [`explained`], without the routes that were tried before the one that decides.
pub async fn predicted(
    explainer: &Explainer<'_>,
    request: (&str, &str, Option<IpAddr>),
    foresight: &Foresight<'_>,
) -> Explained {
    account(explainer, request, foresight, Detail::Outcome).await
}

async fn account(
    explainer: &Explainer<'_>,
    (method, url, from): (&str, &str, Option<IpAddr>),
    foresight: &Foresight<'_>,
    detail: Detail,
) -> Explained {
    let config = explainer.config();
    let client = from.map(|client| client.to_canonical());
    let client = client.filter(|client| config.may_be_client(*client));
    let (host, target) = parts(url);
    let inquiry = explain::Inquiry {
        method,
        host,
        target,
        client,
    };
    let explanation = explainer.explain(&inquiry, detail);
    // Without routes the application authorizes.
    let of_route = explanation
        .route
        .map_or(&Policy::Authenticated, |route| &route.policy);
    let account = Account {
        by_route: foresight.denial(of_route, &config.realms).await,
        by_credential: foresight
            .denial(&Policy::Authenticated, &config.realms)
            .await,
        explanation,
        foresight,
        config,
        client,
    };
    account.explained()
}

/// Splits a URL into its host, if it has one, and its path with the query.
fn parts(url: &str) -> (Option<&str>, &str) {
    let rest = ["http://", "https://"].iter().find_map(|scheme| {
        let (start, rest) = url.split_at_checked(scheme.len())?;
        start.eq_ignore_ascii_case(scheme).then_some(rest)
    });
    let Some(rest) = rest else {
        return (None, url);
    };
    // A client never sends the fragment.
    let rest = rest.split('#').next().unwrap_or_default();
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (host, target) = rest.split_at_checked(end).unwrap_or((rest, ""));
    (Some(host), if target.is_empty() { "/" } else { target })
}

/// The collected explanation.
struct Account<'a> {
    explanation: Explanation<'a>,
    foresight: &'a Foresight<'a>,
    /// The denial under the policy of the route.
    by_route: Option<Denial>,
    /// The denial where only the credential is checked.
    by_credential: Option<Denial>,
    config: &'a Config,
    client: Option<IpAddr>,
}

impl Account<'_> {
    fn explained(&self) -> Explained {
        let explanation = &self.explanation;
        let foresight = self.foresight;
        let route = explanation.route;
        let who = foresight.principal;
        let rule = || {
            let rule = route?.policy.rule_for(who?)?;
            Some(rule.to_string())
        };
        let exception = || Some(route?.policy.exception_for(who?)?.to_string());
        let admits = |(policy, who): (&Policy, _)| policy.admits(who, &self.config.realms);
        let tried = explanation.tried.iter().map(|(route, misfits)| Tried {
            name: route.name.clone(),
            misfits: misfits.iter().map(|it| misfit(*it)).collect(),
            host: texts(&route.hosts),
            path: texts(&route.paths),
            methods: route.methods.as_deref().map(methods),
            from: route
                .from
                .as_deref()
                .map(NetworkSet::listed)
                .and_then(texts),
        });
        let others = explanation.others.iter().map(|other| Reading {
            path: other.path.clone(),
            route: other.route.map(str::to_owned),
            divided: other.is_divided,
        });
        let readings: Vec<_> = others.collect();
        Explained {
            path: explanation.path.clone(),
            other_path: readings.first().map(|it| it.path.clone()),
            other_route: readings.first().and_then(|it| it.route.clone()),
            readings,
            routes: tried.collect(),
            route: route.map(|route| route.name.clone()),
            policy: route.map(|route| policy(&route.policy)),
            mode: route.map(|route| mode(route.mode)),
            rule: rule(),
            exception: exception(),
            client: self.client,
            name: who.map(|who| who.name().to_owned()),
            realm: who.map(|who| who.realm().to_owned()),
            refusal: foresight.cause.map(DenialCause::reason).map(str::to_owned),
            retry_after: foresight.retry_after.map(|it| it.as_secs()),
            once: foresight.is_one_time,
            admitted: route.map(|route| &route.policy).zip(who).map(admits),
            has_routes: !self.config.routes.is_empty(),
            upstream: route.and_then(|route| upstream(self.config, route)),
            effects: route.map(|route| effects(self.config, route)),
            upstream_path: explanation.forwarded.clone(),
            own: explanation.is_own,
            proxy: self.at_proxy(),
            forward_auth: self.at_forward_auth(),
            any_forward_auth: sub_request(self.by_credential.as_ref()),
        }
    }

    /// Returns whether the matching route only observes.
    fn is_observed(&self) -> bool {
        let route = self.explanation.route;
        route.is_some_and(|route| route.mode == Mode::Observe)
    }

    /// Returns the outcome at the proxy, if there is one.
    fn at_proxy(&self) -> Option<Fate> {
        self.config.gateway.listen?;
        let explanation = &self.explanation;
        let rejected = &explanation.rejected_at_proxy;
        let rejected = rejected.as_ref().or(explanation.rejected.as_ref());
        Some(match (rejected, &self.by_route) {
            _ if explanation.is_own => permit(None),
            (Some(rejected), _) => rejection(rejected, rejected.status),
            (None, Some(denial)) if self.is_observed() => {
                observed(None, denial, statuses(denial).0)
            }
            (None, Some(denial)) => denied(denial, statuses(denial).0),
            (None, None) => permit(None),
        })
    }

    /// Returns the outcome at the forward-auth endpoints that know the original request.
    fn at_forward_auth(&self) -> Fate {
        let has_routes = !self.config.routes.is_empty();
        match &self.explanation.rejected {
            Some(rejected) if has_routes || rejected.reason != "no_route" => {
                rejection(rejected, REJECTED_SUB_REQUEST)
            }
            _ => match &self.by_route {
                Some(denial) if self.is_observed() => {
                    observed(Some(200), denial, statuses(denial).1)
                }
                denial => sub_request(denial.as_ref()),
            },
        }
    }
}

fn sub_request(denial: Option<&Denial>) -> Fate {
    denial.map_or_else(
        || permit(Some(200)),
        |denial| denied(denial, statuses(denial).1),
    )
}

fn permit(status: Option<u16>) -> Fate {
    Fate {
        passes: true,
        status,
        reason: None,
        detail: None,
        observed: None,
        observed_status: None,
    }
}

/// The request passes with `status`, because the route only observes.
fn observed(status: Option<u16>, denial: &Denial, otherwise: u16) -> Fate {
    Fate {
        observed: Some(denial.reason().to_owned()),
        observed_status: Some(otherwise),
        ..permit(status)
    }
}

fn denied(denial: &Denial, status: u16) -> Fate {
    Fate {
        passes: false,
        status: Some(status),
        reason: Some(denial.reason().to_owned()),
        detail: None,
        observed: None,
        observed_status: None,
    }
}

fn rejection(rejected: &Rejected, status: u16) -> Fate {
    Fate {
        passes: false,
        status: Some(status),
        reason: Some(rejected.reason.to_owned()),
        detail: Some(rejected.to_string()),
        observed: None,
        observed_status: None,
    }
}

const fn misfit(misfit: explain::Misfit) -> Misfit {
    match misfit {
        explain::Misfit::Host => Misfit::Host,
        explain::Misfit::Path => Misfit::Path,
        explain::Misfit::Method => Misfit::Method,
        explain::Misfit::Network => Misfit::Network,
    }
}
