//! The layer for reqwest, with the feature `reqwest`.

use std::task::{Context, Poll};

use ::reqwest::Request;
use ::reqwest::redirect::{Attempt, Policy};
use http::Uri;
use http::header::AUTHORIZATION;
use tower_service::Service;

use super::layer::Auth;
use super::origin::Origin;

/// The maximum number of redirects, as in reqwest's own policy.
const MOST: usize = 10;

impl<S> Service<Request> for Auth<S>
where
    S: Service<Request>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request) -> S::Future {
        let uri = request.url().as_str().parse::<Uri>();
        if uri.is_ok_and(|uri| self.layer.origin.is_of(&uri)) {
            let value = self.layer.credential.authorization();
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        self.inner.call(request)
    }
}

/// Returns a policy that follows redirects within the scheme, host and port of the request. Any other is the response.
///
/// Give it to `reqwest::ClientBuilder::redirect`: reqwest follows redirects below the [`AuthLayer`](super::AuthLayer),
/// and its own policy keeps `Authorization` where only the scheme changes.
pub fn redirects_within_origin() -> Policy {
    Policy::custom(|attempt: Attempt<'_>| {
        let origin = |url: &str| Origin::of(&url.parse::<Uri>().ok()?);
        let next = origin(attempt.url().as_str());
        let first = attempt
            .previous()
            .first()
            .and_then(|url| origin(url.as_str()));
        match (next, first) {
            (Some(next), Some(first)) if next == first && attempt.previous().len() <= MOST => {
                attempt.follow()
            }
            _ => attempt.stop(),
        }
    })
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpListener};
    use std::thread;

    use ::reqwest::{Client, Method, Url};
    use tower_layer::Layer;

    use super::*;
    use crate::{AuthLayer, Credential};

    /// Serves some requests. Each gets the next response; the heads of the requests are the result.
    fn serve(responses: Vec<String>) -> (SocketAddr, thread::JoinHandle<Vec<String>>) {
        serve_on(TcpListener::bind("127.0.0.1:0").unwrap(), responses)
    }

    fn serve_on(
        listener: TcpListener,
        responses: Vec<String>,
    ) -> (SocketAddr, thread::JoinHandle<Vec<String>>) {
        let address = listener.local_addr().unwrap();
        let serving = thread::spawn(move || {
            let mut heads = Vec::new();
            for response in responses {
                let (mut stream, _) = listener.accept().unwrap();
                let mut head = Vec::new();
                let mut byte = [0];
                while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
                    head.push(byte[0]);
                }
                stream.write_all(response.as_bytes()).unwrap();
                heads.push(String::from_utf8(head).unwrap().to_lowercase());
            }
            heads
        });
        (address, serving)
    }

    fn redirect_to(location: &str) -> String {
        format!(
            "HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )
    }

    fn ok() -> String {
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned()
    }

    async fn get(origin: SocketAddr) -> u16 {
        let seed = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP";
        let credential = Credential::new("billing", "payments", seed).unwrap();
        let layer = AuthLayer::new(credential, &format!("http://{origin}")).unwrap();
        // With the features that a test of the workspace enables, reqwest needs a provider for TLS.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = Client::builder().redirect(redirects_within_origin());
        let mut client = layer.layer(builder.build().unwrap());
        let url = Url::parse(&format!("http://{origin}/start")).unwrap();
        let response = client.call(Request::new(Method::GET, url)).await.unwrap();
        response.status().as_u16()
    }

    #[tokio::test]
    async fn redirect_within_the_origin_keeps_the_token() {
        let (address, serving) = serve(vec![redirect_to("/next"), ok()]);
        assert_eq!(get(address).await, 200);
        let heads = serving.join().unwrap();
        assert!(heads[1].starts_with("get /next "));
        for head in heads {
            assert!(head.contains("\r\nauthorization: basic "), "{head}");
        }
    }

    #[tokio::test]
    async fn redirect_elsewhere_is_the_response() {
        let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
        elsewhere.set_nonblocking(true).unwrap();
        let other = elsewhere.local_addr().unwrap();
        for location in [
            format!("http://{other}/"),
            format!("//{other}/"),
            format!("https://{other}/"),
            format!("http://localhost:{}/", other.port()),
        ] {
            let (address, serving) = serve(vec![redirect_to(&location)]);
            assert_eq!(get(address).await, 302, "{location}");
            serving.join().unwrap();
            assert!(elsewhere.accept().is_err(), "{location}");
        }
    }

    #[tokio::test]
    async fn redirect_to_another_scheme_is_the_response() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let location = format!("https://{}/", listener.local_addr().unwrap());
        let (address, serving) = serve_on(listener, vec![redirect_to(&location)]);
        assert_eq!(get(address).await, 302);
        assert_eq!(serving.join().unwrap().len(), 1);
    }

    #[tokio::test]
    async fn circle_of_redirects_ends() {
        let (address, serving) = serve(vec![redirect_to("/start"); MOST + 1]);
        assert_eq!(get(address).await, 302);
        assert_eq!(serving.join().unwrap().len(), MOST + 1);
    }
}
