use std::fmt::Write;

use super::error::CliError;
use super::output::{BAD, GOOD, Output, STRONG};
use super::remote::{Remote, Server};
use super::setup::runtime;
use crate::doors::v1::types::{Node, Status, Throttled};

#[derive(Debug, clap::Args)]
#[command(mut_arg("server", |server| {
    server.required(true).help("Server to ask, over its administration API: `https://otp.example.org`")
}))]
pub(super) struct Args {
    #[command(flatten)]
    remote: Remote,
}

pub(super) fn run(args: &Args, output: Output) -> Result<(), CliError> {
    let server = args.remote.server()?;
    let server = server.ok_or(CliError::NoServerGiven)?;
    runtime()?.block_on(show(&server, output))
}

async fn show(server: &Server, output: Output) -> Result<(), CliError> {
    let status: Status = server.get("/v1/status").await?;
    output.print(&status, || text(&status));
    Ok(())
}

fn text(status: &Status) -> String {
    let mut text = format!(
        "{STRONG}node{STRONG:#}       {}\n",
        status.node.escape_debug()
    );
    let _ = writeln!(text, "{STRONG}version{STRONG:#}    {}", status.version);
    let _ = writeln!(text, "{STRONG}started{STRONG:#}    {}", status.started);
    let store = &status.store;
    let ready = match &store.error {
        None => format!("{GOOD}ready{GOOD:#}"),
        Some(error) => format!("{BAD}not ready{BAD:#}: {error}"),
    };
    let _ = writeln!(
        text,
        "{STRONG}store{STRONG:#}      {}, {ready}",
        store.location
    );
    if let Some(all) = &status.identities {
        let realms = if all.realms == 1 { "realm" } else { "realms" };
        let _ = writeln!(
            text,
            "{STRONG}identities{STRONG:#} {} in {} {realms}, {} disabled",
            all.identities, all.realms, all.disabled
        );
    }
    let throttled = status.throttled.iter().filter(|it| it.count > 0);
    let throttled: Vec<_> = throttled.map(Throttled::text).collect();
    let throttled = match &*throttled {
        [] => "none".to_owned(),
        some => some.join(", "),
    };
    let _ = writeln!(text, "{STRONG}throttled{STRONG:#}  {throttled}");
    let _ = writeln!(text, "{STRONG}routes{STRONG:#}     {}", status.routes);
    let _ = write!(text, "{STRONG}upstreams{STRONG:#}  {}", status.upstreams);
    for (at, node) in status.nodes.iter().enumerate() {
        let label = if at == 0 { "nodes" } else { "" };
        let _ = write!(
            text,
            "\n{STRONG}{label:10}{STRONG:#} {}",
            described(node, &status.version)
        );
    }
    let left_out = status.nodes_left_out();
    if left_out > 0 {
        let _ = write!(
            text,
            "\n{:10} and {left_out} more, which have not been seen for longer",
            ""
        );
    }
    text
}

/// Describes a node in a line. `version` is that of the node that was asked.
fn described(node: &Node, version: &str) -> String {
    let mut text = format!(
        "{} {}",
        node.name.escape_debug(),
        node.version.escape_debug()
    );
    if node.version != version {
        let _ = write!(text, " (another version)");
    }
    let _ = match node {
        Node { is_this: true, .. } => write!(text, ", this node"),
        Node {
            is_missing: true, ..
        } => {
            write!(text, ", {BAD}not seen for {} s{BAD:#}", node.age)
        }
        Node { age, .. } => write!(text, ", {GOOD}seen {age} s ago{GOOD:#}"),
    };
    if node.behind > 0 {
        let _ = write!(text, ", {} changes behind", node.behind);
    }
    let _ = write!(text, ", configuration {}", node.config.escape_debug());
    text
}
