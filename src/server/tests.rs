use std::net::SocketAddr;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

/// A server with a route that matches one host only.
async fn serve(folder: &TempDir) -> Server {
    let (database, key) = (folder.path().join("r.db"), folder.path().join("r.key"));
    let text = format!(
        r#"
        [store]
        url = "sqlite:{}"
        key_file = "{}"
        [service]
        listen = "127.0.0.1:0"
        [gateway]
        listen = "127.0.0.1:0"
        [metrics]
        listen = "127.0.0.1:0"
        [[route]]
        name = "one"
        host = "one.example"
        allow = "anyone"
        upstream = "none"
        [upstream.none]
        peers = ["127.0.0.1:9"]
        "#,
        database.display(),
        key.display()
    );
    let config = Config::parse(&text, "test", []).unwrap();
    let listeners = Listeners::bind(Addresses::of(&config)).unwrap();
    let instruments = Instruments::without_logs();
    Server::start(config, listeners, Intent::Create, instruments)
        .await
        .unwrap()
}

async fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request =
        format!("GET {path} HTTP/1.1\r\nhost: other.example\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = Vec::new();
    stream.read_to_end(&mut response).await.unwrap();
    String::from_utf8(response).unwrap()
}

fn id_of(response: &str) -> &str {
    let line = response
        .lines()
        .find(|line| line.to_ascii_lowercase().starts_with("x-request-id: "));
    line.unwrap().split_once(": ").unwrap().1
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_in_one_process_have_metrics_and_request_ids_of_their_own() {
    let folders = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    let [one, other] = [serve(&folders[0]).await, serve(&folders[1]).await];
    let gateway = |server: &Server| server.addresses().gateway.unwrap();
    let metrics = |server: &Server| server.addresses().metrics.unwrap();
    let mut ids = Vec::new();
    for (server, requests) in [(&one, 1), (&other, 2)] {
        for _ in 0..requests {
            let response = get(gateway(server), "/x").await;
            assert!(response.starts_with("HTTP/1.1 404 "), "{response}");
            ids.push(id_of(&response).to_owned());
        }
    }
    for (server, requests) in [(&one, 1), (&other, 2)] {
        let text = get(metrics(server), "/metrics").await;
        let count = format!(
            "realmgate_decisions_total{{door=\"proxy\",route=\"-\",realm=\"-\",outcome=\"no_route\"}} {requests}\n"
        );
        assert!(text.contains(&count), "{count}{text}");
    }
    // The ids of a server differ in their count only; those of two servers in their first half, too.
    let halves: Vec<_> = ids.iter().map(|id| id.split_at(16)).collect();
    assert_ne!(halves[0].0, halves[1].0);
    assert_eq!(halves[1].0, halves[2].0);
    assert_ne!(halves[1].1, halves[2].1);
    for server in [one, other] {
        server.close(End::Final, std::future::ready(())).await;
    }
}
