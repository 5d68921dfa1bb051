//! A client of the REST door, and of an ungleich-otp 0.8 server: registers, lists, renames, removes and
//! verifies.
//!
//! ```no_run
//! use realmgate_client::{Client, Caller, Proof};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let seed = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP".parse::<Proof>()?;
//! let caller = Caller::new("auth", "ungleich-auth", seed);
//! let client = Client::new("https://otp.example.org", caller)?;
//! client.verify("billing", "payments", &Proof::token("492039")).await?;
//! # Ok(())
//! # }
//! ```
//!
//! Every method asks once. Only a connection that could not be made is tried again, at most twice: what
//! may have been sent is never sent a second time. Redirections are not followed.

mod caller;
mod error;
mod server;
mod tls;
mod transport;
mod wire;

pub use caller::{Caller, Proof};
pub use error::{Error, Refused};
pub use server::ServerUrlError;
pub use tls::to_servers;
pub use wire::Registered;

use std::time::Duration;

use http::{Method, StatusCode};

use server::Server;
use transport::{Answer, Transport};
use wire::{Body, Detail, Object, Verified};

/// What is wrong with an answer about somebody else.
const OTHER: &str = "an identity that was not asked for";

/// A client of one server, on behalf of one caller. Cheap to keep: connections are used again.
#[derive(Debug)]
pub struct Client {
    server: Server,
    caller: Caller,
    transport: Transport,
}

impl Client {
    /// How long a request may take in all, unless told otherwise.
    pub const TIMEOUT: Duration = Duration::from_secs(10);

    /// Makes a client of the server at `url`: `http` or `https`, with or without `/ungleichotp/` or
    /// `/ungleichotp/verify/` at its end. No connection is made yet.
    ///
    /// # Errors
    /// An address that is none.
    pub fn new(url: &str, caller: Caller) -> Result<Self, ServerUrlError> {
        Ok(Self {
            server: url.parse()?,
            caller,
            transport: Transport::new(Self::TIMEOUT),
        })
    }

    /// Sets how long a request may take in all, connecting included.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.transport = Transport::new(timeout);
        self
    }

    /// Registers an identity; the answer holds its new seed, which is shown this once.
    ///
    /// # Errors
    /// [`Error::Invalid`] if there is one already or a part cannot be one, and what [`Error`] says of
    /// every request.
    pub async fn create(&self, name: &str, realm: &str) -> Result<Registered, Error> {
        let body = self.body().with("name", name).with("realm", realm);
        let answer = self
            .ask(Asked {
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

    /// Lists every identity, in the order of their numbers.
    ///
    /// # Errors
    /// What [`Error`] says of every request.
    pub async fn list(&self) -> Result<Vec<Registered>, Error> {
        listed(&self.answered_list().await?)
    }

    /// Finds an identity by name and realm, through the list.
    ///
    /// # Errors
    /// [`Error::NotFound`], and what [`Error`] says of every request.
    pub async fn find(&self, name: &str, realm: &str) -> Result<Registered, Error> {
        let answer = self.answered_list().await?;
        let mut found = listed(&answer)?
            .into_iter()
            .filter(|it| it.name == name && it.realm == realm);
        match (found.next(), found.next()) {
            (Some(found), None) => Ok(found),
            // The wrong one of two could be changed or removed.
            (Some(_), Some(_)) => Err(answer.wrong("a list that has the identity twice")),
            (None, _) => Err(Error::NotFound {
                name: name.to_owned(),
                realm: realm.to_owned(),
            }),
        }
    }

    async fn answered_list(&self) -> Result<Answer, Error> {
        self.ask(Asked {
            method: Method::GET,
            path: "",
            body: &self.body(),
            size: Size::List,
        })
        .await
    }

    /// Gives an identity another name, another realm, or both. Its seed stays.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::NoNumber`], [`Error::Invalid`] if the new pair is another identity's, and what [`Error`]
    /// says of every request.
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
            .ask(Asked {
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

    /// Removes an identity and returns what it was.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::NoNumber`], and what [`Error`] says of every request.
    pub async fn delete(&self, name: &str, realm: &str) -> Result<Registered, Error> {
        let found = self.find(name, realm).await?;
        let path = path_of(&found)?;
        let answer = self
            .ask(Asked {
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

    /// Asks whether `proof` is that principal's now. Only a 200 with a JSON object whose `status` is `OK` is a
    /// yes.
    ///
    /// # Errors
    /// [`Error::Refused`] says whose credential was refused; and what [`Error`] says of every request.
    pub async fn verify(&self, name: &str, realm: &str, proof: &Proof) -> Result<(), Error> {
        let token = proof.now();
        let subject = self.body().with("name", name).with("realm", realm);
        let subject = subject.with("token", &token);
        let answer = self
            .send(Asked {
                method: Method::POST,
                path: "verify/",
                body: &subject,
                size: Size::One,
            })
            .await?;
        if answer.detail() == Some(Detail::NotAllowed) {
            return Err(self.whose_refusal(name, realm).await);
        }
        let answer = self.checked(answer)?;
        let Object(verified) = answer.parse::<Object<Verified>>(StatusCode::OK)?;
        if !verified.is_ok() {
            return Err(answer.wrong(format_args!("the status is {:?}, not OK", verified.word())));
        }
        Ok(())
    }

    /// The server says the same of a subject that is refused and of a caller who may not ask. Whoever
    /// may ask is told, when they name no subject, that they should.
    async fn whose_refusal(&self, name: &str, realm: &str) -> Error {
        let probe = self
            .send(Asked {
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
                Error::Refused(Refused::Subject {
                    name: name.to_owned(),
                    realm: realm.to_owned(),
                })
            }
            Ok(answer) if answer.detail() == Some(Detail::NotAllowed) => self.not_allowed(),
            _ => Error::Refused(Refused::Either {
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

    async fn ask(&self, request: Asked<'_>) -> Result<Answer, Error> {
        self.checked(self.send(request).await?)
    }

    async fn send(&self, request: Asked<'_>) -> Result<Answer, Error> {
        let uri = self.server.resource(request.path)?;
        let body = request.body.to_json();
        self.transport
            .send(request.method, uri, body, request.size as usize)
            .await
    }

    /// Passes answers on that are about what was asked, and makes errors of the others.
    fn checked(&self, answer: Answer) -> Result<Answer, Error> {
        match (answer.status, answer.detail()) {
            (_, Some(Detail::NotAuthenticated)) => Err(Error::Refused(Refused::Caller {
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

    /// The identity went away between finding and changing it.
    fn gone(&self, answer: &Answer, name: &str, realm: &str) -> Result<(), Error> {
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

fn listed(answer: &Answer) -> Result<Vec<Registered>, Error> {
    let all: Vec<Object<Registered>> = answer.parse(StatusCode::OK)?;
    Ok(all.into_iter().map(|Object(one)| one).collect())
}

/// A request of a resource below `/ungleichotp/`.
struct Asked<'a> {
    method: Method,
    path: &'a str,
    body: &'a Body,
    size: Size,
}

/// The most bytes of an answer.
#[derive(Clone, Copy, Debug)]
#[repr(usize)]
enum Size {
    /// About one identity.
    One = 64 << 10,
    /// About all of them.
    List = 256 << 20,
}
