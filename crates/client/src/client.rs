//! The client of the REST API.

use std::time::Duration;

use http::{Method, StatusCode};

use super::body::{Body, Detail, Object, Registered, Verified};
use super::caller::{Caller, Proof};
use super::error::{Error, Rejected};
use super::server::{Server, ServerUrlError};
use super::transport::{Received, Transport};

/// The error for a response about another identity.
const OTHER: &str = "an identity that was not asked for";

/// A client of one server for one caller. Keep it: its connections are reused.
///
/// ```no_run
/// use realmgate_client::{Client, Credential, Proof};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let verifier = Credential::from_seed_file("auth", "ungleich-auth", "seed.txt")?;
/// let client = Client::new("https://otp.example.org", verifier)?;
/// client.verify("billing", "payments", &Proof::token("492039")).await?;
/// # Ok(())
/// # }
/// ```
///
/// A method sends its request once. Only a failed connection is retried, at most twice, so that no
/// request is ever sent again. Redirects are not followed.
#[derive(Debug)]
pub struct Client {
    server: Server,
    caller: Caller,
    transport: Transport,
}

impl Client {
    /// The default limit for a whole request.
    pub const TIMEOUT: Duration = Duration::from_secs(10);

    /// Makes a client for the server at `url`: `http` or `https`, with or without a trailing
    /// `/ungleichotp/` or `/ungleichotp/verify/`. Does not connect yet.
    ///
    /// # Errors
    /// [`ServerUrlError`] if the URL is invalid.
    pub fn new(url: &str, caller: impl Into<Caller>) -> Result<Self, ServerUrlError> {
        Ok(Self {
            server: url.parse()?,
            caller: caller.into(),
            transport: Transport::new(Self::TIMEOUT),
        })
    }

    /// Sets the limit for a whole request, including the connection.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.transport = Transport::new(timeout);
        self
    }

    /// Registers an identity. The response holds its new seed, which the server shows only this
    /// once.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the identity exists or a part is invalid, and the [`Error`]s that
    /// every request can return.
    pub async fn create(&self, name: &str, realm: &str) -> Result<Registered, Error> {
        let body = self.body().with("name", name).with("realm", realm);
        let answer = self
            .ask(Call {
                method: Method::POST,
                path: "",
                body: &body,
                size: Size::One,
            })
            .await?;
        let Object(created) = answer.parse::<Object<Registered>>(StatusCode::CREATED)?;
        if !created.is(name, realm) {
            return Err(answer.wrong(OTHER));
        }
        if !created.has_seed() {
            return Err(answer.wrong("an identity without a usable seed"));
        }
        Ok(created)
    }

    /// Lists all identities, ordered by number.
    ///
    /// # Errors
    /// The [`Error`]s that every request can return.
    pub async fn list(&self) -> Result<Vec<Registered>, Error> {
        listed(&self.fetch_list().await?)
    }

    /// Finds an identity by name and realm. Reads the whole list to find it.
    ///
    /// # Errors
    /// [`Error::NotFound`], and the [`Error`]s that every request can return.
    pub async fn find(&self, name: &str, realm: &str) -> Result<Registered, Error> {
        let answer = self.fetch_list().await?;
        let mut found = listed(&answer)?
            .into_iter()
            .filter(|it| it.name == name && it.realm == realm);
        match (found.next(), found.next()) {
            (Some(found), None) => Ok(found),
            // With two, a caller could change or delete the wrong one.
            (Some(_), Some(_)) => Err(answer.wrong("a list that has the identity twice")),
            (None, _) => Err(Error::NotFound {
                name: name.to_owned(),
                realm: realm.to_owned(),
            }),
        }
    }

    async fn fetch_list(&self) -> Result<Received, Error> {
        self.ask(Call {
            method: Method::GET,
            path: "",
            body: &self.body(),
            size: Size::List,
        })
        .await
    }

    /// Changes the name or the realm of an identity, or both. Its seed stays the same.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::NoNumber`], [`Error::Invalid`] if another identity has the new
    /// name and realm, and the [`Error`]s that every request can return.
    pub async fn update(
        &self,
        name: &str,
        realm: &str,
        new_name: Option<&str>,
        new_realm: Option<&str>,
    ) -> Result<Registered, Error> {
        let found = self.find(name, realm).await?;
        let mut body = self.body();
        for (field, value) in [("name", new_name), ("realm", new_realm)] {
            if let Some(value) = value {
                body = body.with(field, value);
            }
        }
        let path = path_of(&found)?;
        let answer = self
            .ask(Call {
                method: Method::PATCH,
                path: &path,
                body: &body,
                size: Size::One,
            })
            .await?;
        self.gone(&answer, name, realm)?;
        let Object(changed) = answer.parse::<Object<Registered>>(StatusCode::OK)?;
        let (to_name, to_realm) = (new_name.unwrap_or(name), new_realm.unwrap_or(realm));
        if changed.id != found.id || !changed.is(to_name, to_realm) {
            return Err(answer.wrong(OTHER));
        }
        Ok(changed)
    }

    /// Deletes an identity and returns its last state.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::NoNumber`], and the [`Error`]s that every request can return.
    pub async fn delete(&self, name: &str, realm: &str) -> Result<Registered, Error> {
        let found = self.find(name, realm).await?;
        let path = path_of(&found)?;
        let answer = self
            .ask(Call {
                method: Method::DELETE,
                path: &path,
                body: &self.body(),
                size: Size::One,
            })
            .await?;
        self.gone(&answer, name, realm)?;
        match answer.status {
            StatusCode::NO_CONTENT => Ok(found),
            _ => Err(answer.unexpected()),
        }
    }

    /// Verifies that `proof` belongs to the principal now. Only a 200 with a JSON object whose
    /// `status` is `OK` counts as a yes.
    ///
    /// # Errors
    /// [`Error::Rejected`] with the rejected credential, and the [`Error`]s that every request can
    /// return.
    pub async fn verify(&self, name: &str, realm: &str, proof: &Proof) -> Result<(), Error> {
        let token = proof.now();
        let subject = self.body().with("name", name).with("realm", realm);
        let subject = subject.with("token", &token);
        let answer = self
            .send(Call {
                method: Method::POST,
                path: "verify/",
                body: &subject,
                size: Size::One,
            })
            .await?;
        if answer.detail() == Some(Detail::NotAllowed) {
            return Err(self.rejected_party(name, realm).await);
        }
        let answer = self.checked(answer)?;
        let Object(verified) = answer.parse::<Object<Verified>>(StatusCode::OK)?;
        if !verified.is_ok() {
            return Err(answer.wrong(format_args!("the status is {:?}, not OK", verified.word())));
        }
        Ok(())
    }

    /// Finds out which credential was rejected: the server gives the same response for a rejected
    /// subject and for a caller who may not verify. Only a caller who may verify gets a 400 for a
    /// request without a subject.
    async fn rejected_party(&self, name: &str, realm: &str) -> Error {
        let probe = self
            .send(Call {
                method: Method::POST,
                path: "verify/",
                body: &self.body(),
                size: Size::One,
            })
            .await;
        match probe {
            Ok(answer)
                if answer.status == StatusCode::BAD_REQUEST && answer.messages().is_some() =>
            {
                Error::Rejected(Rejected::Subject {
                    name: name.to_owned(),
                    realm: realm.to_owned(),
                })
            }
            Ok(answer) if answer.detail() == Some(Detail::NotAllowed) => self.not_allowed(),
            _ => Error::Rejected(Rejected::Either {
                caller: self.caller.to_string(),
                subject: format!("{name}@{realm}"),
            }),
        }
    }

    fn body(&self) -> Body {
        let token = self.caller.proof().now();
        Body::default()
            .with("auth_name", self.caller.name())
            .with("auth_realm", self.caller.realm())
            .with("auth_token", &token)
    }

    async fn ask(&self, request: Call<'_>) -> Result<Received, Error> {
        self.checked(self.send(request).await?)
    }

    async fn send(&self, request: Call<'_>) -> Result<Received, Error> {
        let uri = self.server.resource(request.path)?;
        let body = request.body.to_json();
        self.transport
            .send(request.method, uri, body, request.size as usize)
            .await
    }

    /// Passes on the responses that need the request to be understood, and turns the others into
    /// errors.
    fn checked(&self, answer: Received) -> Result<Received, Error> {
        match (answer.status, answer.detail()) {
            (_, Some(Detail::NotAuthenticated)) => Err(Error::Rejected(Rejected::Caller {
                caller: self.caller.to_string(),
                clock: answer.clock,
                retry_after: answer.retry_after,
            })),
            (_, Some(Detail::NotAllowed)) => Err(self.not_allowed()),
            (StatusCode::BAD_REQUEST, _) => match answer.messages() {
                Some(messages) => Err(Error::Invalid(messages)),
                None => Err(answer.unexpected()),
            },
            (StatusCode::SERVICE_UNAVAILABLE, _) => Err(Error::Unavailable),
            (StatusCode::OK | StatusCode::CREATED | StatusCode::NO_CONTENT, _) => Ok(answer),
            (StatusCode::NOT_FOUND, _) if answer.is_json() => Ok(answer),
            _ => Err(answer.unexpected()),
        }
    }

    fn not_allowed(&self) -> Error {
        Error::NotAllowed {
            caller: self.caller.to_string(),
        }
    }

    /// Fails if the identity was deleted between finding and changing it.
    fn gone(&self, answer: &Received, name: &str, realm: &str) -> Result<(), Error> {
        if answer.status != StatusCode::NOT_FOUND {
            return Ok(());
        }
        Err(Error::NotFound {
            name: name.to_owned(),
            realm: realm.to_owned(),
        })
    }
}

/// Returns the path of an identity, which is its number.
fn path_of(identity: &Registered) -> Result<String, Error> {
    let id = identity.id.ok_or_else(|| Error::NoNumber {
        name: identity.name.clone(),
        realm: identity.realm.clone(),
    })?;
    Ok(format!("{id}/"))
}

fn listed(answer: &Received) -> Result<Vec<Registered>, Error> {
    let all: Vec<Object<Registered>> = answer.parse(StatusCode::OK)?;
    Ok(all.into_iter().map(|Object(one)| one).collect())
}

/// A request for a resource below `/ungleichotp/`.
struct Call<'a> {
    method: Method,
    path: &'a str,
    body: &'a Body,
    size: Size,
}

/// The maximum size of a response body, in bytes.
#[derive(Clone, Copy, Debug)]
#[repr(usize)]
enum Size {
    /// For one identity.
    One = 64 << 10,
    /// For all identities.
    List = 256 << 20,
}
