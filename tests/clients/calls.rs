//! Rust's clients: `calls CLIENT PROTOCOL`, with the commands that `tests/clients/run` describes on standard input.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a client that ends has failed"
)]
#![expect(clippy::print_stdout, reason = "`run` reads the results there")]

use std::error::Error;
use std::io::BufRead;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf, BufMut, Bytes};
use data_encoding::BASE64;
use futures_util::stream;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri};
use http_body_util::{BodyExt, Full};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};

type Failure = Box<dyn Error + Send + Sync>;

/// The status, the size, and the beginning of the body or a time in milliseconds.
type Outcome = Result<(i32, usize, String), Failure>;

/// A command, as read from standard input.
struct Command {
    verb: String,
    url: String,
    fields: HeaderMap,
    size: usize,
}

impl Command {
    fn read(line: &str) -> Self {
        let mut words = line.split('\t');
        let mut next = || words.next().unwrap().to_owned();
        let (verb, url, kind, user, token) = (next(), next(), next(), next(), next());
        let size = next().parse().unwrap();
        let mut fields = HeaderMap::new();
        let mut add = |name: &'static str, value: &str| {
            let name = HeaderName::from_static(name);
            fields.insert(name, HeaderValue::from_str(value).unwrap());
        };
        match kind.as_str() {
            "basic" => {
                let pair = BASE64.encode(format!("{user}:{token}").as_bytes());
                add("authorization", &format!("Basic {pair}"));
            }
            "headers" => {
                let (name, realm) = user.split_once('@').unwrap();
                add("x-auth-name", name);
                add("x-auth-realm", realm);
                add("x-auth-token", &token);
            }
            _ => {}
        }
        Self {
            verb,
            url,
            fields,
            size,
        }
    }
}

fn answer(status: u16, body: &[u8]) -> (i32, usize, String) {
    let start = body.get(..200).unwrap_or(body);
    let text = String::from_utf8_lossy(start).into_owned();
    (i32::from(status), body.len(), text)
}

/// Returns the time between the first and the last piece in milliseconds.
fn between(times: &[Instant]) -> String {
    let first = times.first().unwrap();
    let last = times.last().unwrap();
    last.duration_since(*first).as_millis().to_string()
}

fn ca() -> Vec<u8> {
    std::fs::read(std::env::var("CLIENTS_CA").unwrap()).unwrap()
}

struct Reqwest {
    client: reqwest::Client,
    held: Option<reqwest::Response>,
}

impl Reqwest {
    fn new(protocol: &str) -> Self {
        let ca = reqwest::Certificate::from_pem(&ca()).unwrap();
        let mut builder = reqwest::Client::builder()
            .no_proxy()
            .tls_certs_only([ca])
            .timeout(Duration::from_secs(60));
        if protocol == "h2c" {
            builder = builder.http2_prior_knowledge();
        }
        Self {
            client: builder.build().unwrap(),
            held: None,
        }
    }

    async fn run(&mut self, command: &Command) -> Outcome {
        let (url, fields) = (&command.url, command.fields.clone());
        match command.verb.as_str() {
            "close" => {
                self.held = None;
                Ok((0, 0, String::new()))
            }
            "open" => {
                let mut response = self.client.get(url).headers(fields).send().await?;
                response.chunk().await?.ok_or("no body")?;
                let status = response.status().as_u16();
                self.held = Some(response);
                Ok((i32::from(status), 0, String::new()))
            }
            "slow" => {
                let mut response = self.client.get(url).headers(fields).send().await?;
                let (mut times, mut size) = (Vec::new(), 0);
                while let Some(part) = response.chunk().await? {
                    times.push(Instant::now());
                    size += part.len();
                }
                Ok((response.status().as_u16().into(), size, between(&times)))
            }
            verb => {
                let request = match verb {
                    "post" => self.client.post(url).body(vec![b'x'; command.size]),
                    _ => self.client.get(url),
                };
                let response = request.headers(fields).send().await?;
                let status = response.status().as_u16();
                Ok(answer(status, &response.bytes().await?))
            }
        }
    }
}

struct Hyper {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    held: Option<hyper::body::Incoming>,
}

impl Hyper {
    fn new(protocol: &str) -> Self {
        let mut roots = rustls::RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(&ca()).unwrap())
            .unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .enable_http2()
            .build();
        let mut builder = Client::builder(TokioExecutor::new());
        builder.pool_timer(TokioTimer::new());
        if protocol == "h2c" {
            builder.http2_only(true);
        }
        Self {
            client: builder.build(connector),
            held: None,
        }
    }

    async fn run(&mut self, command: &Command) -> Outcome {
        if command.verb == "close" {
            self.held = None;
            return Ok((0, 0, String::new()));
        }
        let body = match command.verb.as_str() {
            "post" => vec![b'x'; command.size],
            _ => Vec::new(),
        };
        let method = match command.verb.as_str() {
            "post" => "POST",
            _ => "GET",
        };
        let uri: Uri = command.url.parse()?;
        let mut request = Request::builder().method(method).uri(uri);
        request
            .headers_mut()
            .unwrap()
            .extend(command.fields.clone());
        let response = self.client.request(request.body(Full::from(body))?).await?;
        let status = response.status().as_u16();
        let mut body = response.into_body();
        match command.verb.as_str() {
            "open" => {
                body.frame().await.ok_or("no body")??;
                self.held = Some(body);
                Ok((status.into(), 0, String::new()))
            }
            "slow" => {
                let (mut times, mut size) = (Vec::new(), 0);
                while let Some(frame) = body.frame().await {
                    times.push(Instant::now());
                    size += frame?.data_ref().map_or(0, Bytes::len);
                }
                Ok((status.into(), size, between(&times)))
            }
            _ => Ok(answer(status, &body.collect().await?.to_bytes())),
        }
    }
}

/// Messages that are bytes.
#[derive(Clone, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = tonic::Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), tonic::Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = tonic::Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, tonic::Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}

struct Tonic {
    is_tls: bool,
    channel: Option<Channel>,
    held: Option<tonic::Streaming<Bytes>>,
}

impl Tonic {
    fn new(protocol: &str) -> Self {
        Self {
            is_tls: protocol == "tls",
            channel: None,
            held: None,
        }
    }

    async fn channel(&mut self, url: &str) -> Result<Channel, Failure> {
        if let Some(channel) = &self.channel {
            return Ok(channel.clone());
        }
        let mut endpoint = Endpoint::from_shared(url.to_owned())?;
        if self.is_tls {
            let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca()));
            endpoint = endpoint.tls_config(tls)?;
        }
        let channel = endpoint.connect().await?;
        self.channel = Some(channel.clone());
        Ok(channel)
    }

    async fn run(&mut self, command: &Command) -> Outcome {
        if command.verb == "close" {
            self.held = None;
            return Ok((0, 0, String::new()));
        }
        let channel = self.channel(&command.url).await?;
        match self.call(channel, command).await {
            Ok(outcome) => Ok(outcome),
            Err(error) => match error.downcast::<tonic::Status>() {
                Ok(status) => Ok((i32::from(status.code()), 0, status.message().to_owned())),
                Err(error) => Err(error),
            },
        }
    }

    async fn call(&mut self, channel: Channel, command: &Command) -> Outcome {
        let mut client = tonic::client::Grpc::new(channel);
        client.ready().await?;
        let path = |name: &str| format!("/calls.Calls/{name}").parse().unwrap();
        let one = |text: String| request(&command.fields, Bytes::from(text));
        let size = command.size;
        let name = match command.verb.as_str() {
            "post" => {
                let sizes = (0..size).step_by(50_000);
                let pieces = sizes.map(move |at| Bytes::from(vec![b'x'; (size - at).min(50_000)]));
                let messages = request(&command.fields, stream::iter(pieces));
                let reply = client
                    .client_streaming(messages, path("Count"), Raw)
                    .await?;
                return Ok(answer(0, &reply.into_inner()));
            }
            "get" if size == 0 => {
                let reply = client.unary(one(String::new()), path("Hello"), Raw).await?;
                return Ok(answer(0, &reply.into_inner()));
            }
            "get" => "Bytes",
            "slow" => "Slow",
            _ => "Flood",
        };
        let reply = client.server_streaming(one(size.to_string()), path(name), Raw);
        let mut messages = reply.await?.into_inner();
        if name == "Flood" {
            messages.message().await?;
            self.held = Some(messages);
            return Ok((0, 0, String::new()));
        }
        let (mut times, mut size) = (Vec::new(), 0);
        while let Some(part) = messages.message().await? {
            times.push(Instant::now());
            size += part.len();
        }
        Ok((0, size, between(&times)))
    }
}

/// Makes a request with the credential as metadata.
fn request<T>(fields: &HeaderMap, message: T) -> tonic::Request<T> {
    let metadata = tonic::metadata::MetadataMap::from_headers(fields.clone());
    tonic::Request::from_parts(metadata, tonic::Extensions::default(), message)
}

enum Any {
    Reqwest(Reqwest),
    Hyper(Hyper),
    Tonic(Tonic),
}

#[tokio::main]
async fn main() {
    rustls::crypto::ring::default_provider()
        .install_default()
        .unwrap();
    let [_, client, protocol] = &*std::env::args().collect::<Vec<_>>() else {
        panic!("usage: calls CLIENT PROTOCOL");
    };
    let mut client = match client.as_str() {
        "reqwest" => Any::Reqwest(Reqwest::new(protocol)),
        "hyper" => Any::Hyper(Hyper::new(protocol)),
        "tonic" => Any::Tonic(Tonic::new(protocol)),
        other => panic!("no client {other}"),
    };
    let (lines, mut commands) = tokio::sync::mpsc::channel(1);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            if lines.blocking_send(line.unwrap()).is_err() {
                return;
            }
        }
    });
    while let Some(line) = commands.recv().await {
        let command = Command::read(&line);
        let outcome = match &mut client {
            Any::Reqwest(client) => client.run(&command).await,
            Any::Hyper(client) => client.run(&command).await,
            Any::Tonic(client) => client.run(&command).await,
        };
        match outcome {
            Ok((status, size, text)) => {
                let text: Vec<_> = text.split_whitespace().collect();
                println!("{status}\t{size}\t{}", text.join(" "));
            }
            Err(error) => {
                let mut text = error.to_string();
                let mut cause = error.source();
                while let Some(inner) = cause {
                    text = format!("{text}: {inner}");
                    cause = inner.source();
                }
                println!("error\t0\t{}", text.replace(['\t', '\n'], " "));
            }
        }
    }
}
