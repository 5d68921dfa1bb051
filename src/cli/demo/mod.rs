//! `realmgate demo`: starts everything embedded, shows the three doors, then keeps running for the
//! printed commands.

mod actor;
mod call;
mod echo;
mod tour;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::admin;
use super::error::CliError;
use super::output::{DIM, STRONG, line};
use super::setup::runtime;
use super::signals::Signals;
use crate::config::Config;
use crate::doors::{Addresses, End, Listeners};
use crate::server::{Instruments, Server, StartError};
use crate::store::Intent;
use actor::Actor;
use echo::LOOPBACK;
use tour::{Scene, Tour};

#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct Args {
    /// Run the tour and exit; 0 if every response was as expected
    #[arg(long)]
    once: bool,
}

/// The directory of the demo's store, deleted with its contents on drop.
struct Folder(PathBuf);

impl Folder {
    fn make() -> Result<Self, CliError> {
        let mut suffix = [0_u8; 8];
        let path = std::env::temp_dir();
        getrandom::fill(&mut suffix).map_err(|error| CliError::Demo(error.to_string()))?;
        let name = format!("realmgate-demo-{:016x}", u64::from_be_bytes(suffix));
        let path = path.join(name);
        std::os::unix::fs::DirBuilderExt::mode(&mut std::fs::DirBuilder::new(), 0o700)
            .create(&path)
            .map_err(|error| CliError::Write(path.clone(), error))?;
        Ok(Self(path))
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(super) fn run(args: Args) -> Result<(), CliError> {
    let folder = Folder::make()?;
    runtime()?.block_on(async {
        let mut signals = Signals::listen().map_err(CliError::Runtime)?;
        let upstream = echo::start()
            .await
            .map_err(|error| CliError::Demo(format!("cannot start the echo upstream: {error}")))?;
        let config = configuration(folder.path(), upstream)?;
        crate::telemetry::init(&config.log);
        let listeners = Listeners::bind(Addresses::of(&config)).map_err(StartError::Listen)?;
        let server = Server::start(config, listeners, Intent::Create, Instruments::without_logs()).await?;
        let store = server.store().as_ref();
        let addresses = server.addresses();
        let off = || CliError::Demo("the proxy is off".to_owned());
        let scene = Scene {
            gateway: addresses.gateway.ok_or_else(off)?,
            service_listener: addresses.service,
            admin: Actor::register(store, "admin", "ungleich-admin").await?,
            verifier: Actor::register(store, "verifier", "ungleich-auth").await?,
            service: Actor::register(store, "billing", "payments").await?,
        };
        let metrics = addresses.metrics.map_or_else(|| "off".to_owned(), |it| it.to_string());
        line(&format!(
            "{STRONG}realmgate demo{STRONG:#}: an embedded store, an echo upstream, three identities\n\
             {DIM}  gateway http://{}   service http://{}   metrics http://{}   upstream http://{upstream}{DIM:#}",
            scene.gateway, scene.service_listener, metrics,
        ));
        let surprises = Tour::new(&scene).make().await?;
        if !args.once {
            line(&scene.live_commands());
            if let Some(address) = addresses.admin {
                let origin = format!("http://{address}");
                let admin = store.identity(scene.admin.principal()?.as_ref()).await?;
                let link = match &admin {
                    Some(admin) => admin::make(store, admin, &origin).await?,
                    None => None,
                };
                line(&scene.admin_page(&origin, link.as_ref().map_or("", |(link, _)| link.as_str())));
            }
            signals.next().await;
        }
        server.close(End::Final, std::future::pending()).await;
        if surprises == 0 {
            Ok(())
        } else {
            Err(CliError::Tour(surprises))
        }
    })
}

fn configuration(folder: &Path, upstream: SocketAddr) -> Result<Config, CliError> {
    let database = folder.join("realmgate.db");
    let database = toml::Value::from(format!("sqlite:{}", database.display()));
    let text = format!(
        r#"
        [store]
        url = {database}
        [service]
        listen = "{LOOPBACK}"
        [gateway]
        listen = "{LOOPBACK}"
        [metrics]
        listen = "{LOOPBACK}"
        [admin]
        listen = "{LOOPBACK}"
        [log]
        filter = "error"
        [shutdown]
        grace = "2s"
        [[route]]
        name = "public"
        path = "/public"
        allow = "anyone"
        upstream = "echo"
        [[route]]
        name = "ops"
        path = "/ops"
        allow = [{{ realm = "ops" }}]
        upstream = "echo"
        [[route]]
        name = "everything"
        allow = "authenticated"
        upstream = "echo"
        [upstream.echo]
        peers = ["{upstream}"]
        "#
    );
    Ok(Config::parse(&text, "demo", std::iter::empty())?)
}
