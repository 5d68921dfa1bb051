//! The programs in `examples/` work together, with realmgate between them.

use http::StatusCode;
use realmgate_client::Credential;
use tokio::net::TcpListener;

use crate::harness::Gate;

#[expect(dead_code, reason = "its main function is for users")]
#[path = "../../../examples/client.rs"]
mod client;
#[expect(dead_code, reason = "its main function is for users")]
#[path = "../../../examples/service.rs"]
mod service;

#[tokio::test]
async fn client_reaches_the_service_as_the_principal_that_it_proved() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, service::application()).await });
    let gate = Gate::start(&format!(
        r#"
        [upstream.invoices]
        peers = ["{address}"]

        [[route]]
        name = "invoices"
        path = "/invoices/"
        allow = [{{ realm = "payments" }}]
        upstream = "invoices"
        "#
    ));
    let url = format!("http://{}/invoices/7", gate.gateway);
    for (name, realm, expected) in [
        ("billing", "payments", StatusCode::OK),
        ("müller & co", "payments", StatusCode::OK),
        ("billing", "shop", StatusCode::FORBIDDEN),
    ] {
        let seed = gate.register(name, realm).seed;
        let credential = Credential::new(name, realm, &seed).unwrap();
        let (status, body) = client::call(credential, url.parse().unwrap())
            .await
            .unwrap();
        assert_eq!(status, expected, "{name}@{realm}");
        if status == StatusCode::OK {
            assert_eq!(body, format!("invoice 7 for {name} of {realm}\n"));
        }
    }
    let nobody = Credential::new("nobody", "payments", "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP").unwrap();
    let (status, _) = client::call(nobody.clone(), url.parse().unwrap())
        .await
        .unwrap();
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    // A direct request, without identity headers, is rejected.
    let direct = format!("http://{address}/invoices/7").parse().unwrap();
    let (status, _) = client::call(nobody, direct).await.unwrap();
    assert_eq!(status, StatusCode::UNAUTHORIZED);
}
