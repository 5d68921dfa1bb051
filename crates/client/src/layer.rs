//! A tower layer for clients, with the feature `tower`.

use std::task::{Context, Poll};

use http::Request;
use http::header::AUTHORIZATION;
use tower_layer::Layer;
use tower_service::Service;

use super::credential::Credential;
use super::origin::{Origin, OriginError};

/// Adds a new token to each request to one origin. Requests to any other get none, also after a redirect.
///
/// ```
/// use realmgate_client::{AuthLayer, Credential};
/// use tower_layer::Layer;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let credential = Credential::new("billing", "payments", "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP")?;
/// let layer = AuthLayer::new(credential, "https://app.example.org")?;
/// # let client = ();
/// let client = layer.layer(client);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct AuthLayer {
    pub(super) credential: Credential,
    pub(super) origin: Origin,
}

impl AuthLayer {
    /// Makes a layer for requests to the scheme, host and port of `origin`.
    ///
    /// # Errors
    /// `origin` is not an `http` or `https` URL with a host.
    pub fn new(credential: Credential, origin: &str) -> Result<Self, OriginError> {
        let origin = origin.parse()?;
        Ok(Self { credential, origin })
    }
}

impl<S> Layer<S> for AuthLayer {
    type Service = Auth<S>;

    fn layer(&self, inner: S) -> Auth<S> {
        Auth {
            inner,
            layer: self.clone(),
        }
    }
}

/// A client with the [`AuthLayer`].
#[derive(Clone, Debug)]
pub struct Auth<S> {
    pub(super) inner: S,
    pub(super) layer: AuthLayer,
}

impl<S, B> Service<Request<B>> for Auth<S>
where
    S: Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        if self.layer.origin.is_of(request.uri()) {
            let value = self.layer.credential.authorization();
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        self.inner.call(request)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::{Ready, ready};

    use http::Uri;

    use super::*;

    /// Returns the value of `Authorization`.
    #[derive(Clone)]
    struct Echo;

    impl Service<Request<()>> for Echo {
        type Response = Option<String>;
        type Error = Infallible;
        type Future = Ready<Result<Option<String>, Infallible>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: Request<()>) -> Self::Future {
            let value = request.headers().get(AUTHORIZATION);
            ready(Ok(value.map(|it| it.to_str().unwrap().to_owned())))
        }
    }

    async fn sent(url: &str) -> Option<String> {
        let seed = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP";
        let credential = Credential::new("billing", "payments", seed).unwrap();
        let layer = AuthLayer::new(credential, "https://app.example.org").unwrap();
        let mut client = layer.layer(Echo);
        let uri: Uri = url.parse().unwrap();
        client
            .call(Request::get(uri).body(()).unwrap())
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn only_the_origin_gets_a_token() {
        for url in [
            "https://app.example.org/",
            "https://app.example.org:443/x?y",
            "HTTPS://APP.example.org",
        ] {
            let value = sent(url).await.unwrap();
            assert!(value.starts_with("Basic YmlsbGluZ0BwYXltZW50czo"), "{url}");
        }
        for url in [
            "http://app.example.org/",
            "https://app.example.org:444/",
            "https://other.example.org/",
            "https://app.example.org.evil/",
            "https://app.example.org@evil/",
            "https://evil@app.example.org/",
            "/",
            "app.example.org:443",
        ] {
            assert_eq!(sent(url).await, None, "{url}");
        }
    }
}
