//! Replaces this process by a new one: the program, perhaps a newer version, on the same sockets.

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use command_fds::{CommandFdExt, FdMapping};
use thiserror::Error;
use tokio::io::AsyncReadExt;

use crate::doors::PREDECESSOR;

/// The message of a successor that serves.
const READY: &[u8] = b"ready\n";
/// The first inherited descriptor (`SD_LISTEN_FDS_START` of sd_listen_fds(3)).
const FIRST: i32 = 3;
/// The interval at which a successor that has sent nothing is checked for its exit.
const LOOK: Duration = Duration::from_millis(20);

/// The command line of this process, with which to start another.
pub(super) struct Program {
    path: PathBuf,
    arguments: Vec<OsString>,
}

impl Program {
    /// Returns that of this process. Must be called at startup: later, the path may belong to
    /// another file.
    ///
    /// A symbolic link is not resolved, so that it can be pointed at a newer release.
    ///
    /// # Errors
    /// The path cannot be determined.
    pub(super) fn of_this_process() -> io::Result<Self> {
        let mut arguments = std::env::args_os();
        let path = match arguments.next().map(PathBuf::from) {
            Some(name) if name.components().count() > 1 => std::path::absolute(name)?,
            Some(name) => on_path(&name).map_or_else(std::env::current_exe, Ok)?,
            None => std::env::current_exe()?,
        };
        Ok(Self {
            path,
            arguments: arguments.collect(),
        })
    }

    /// Starts the program that is now at the path, with the arguments and environment of this
    /// process, on `sockets`.
    pub(super) fn start(
        &self,
        sockets: &[(&'static str, OwnedFd)],
    ) -> Result<Successor, ReplaceError> {
        let failed = |error| ReplaceError::Start(self.path.clone(), error);
        let (ours, theirs) = UnixStream::pair().map_err(failed)?;
        ours.set_nonblocking(true).map_err(failed)?;
        let socket = tokio::net::UnixStream::from_std(ours).map_err(failed)?;
        let mut names = Vec::new();
        let mut mappings = Vec::new();
        let predecessor = (PREDECESSOR, OwnedFd::from(theirs));
        for ((name, socket), child_fd) in sockets.iter().chain([&predecessor]).zip(FIRST..) {
            names.push(*name);
            mappings.push(FdMapping {
                parent_fd: socket.try_clone().map_err(failed)?,
                child_fd,
            });
        }
        let mut command = Command::new(&self.path);
        command
            .args(&self.arguments)
            .env("LISTEN_FDS", names.len().to_string())
            .env("LISTEN_FDNAMES", names.join(":"))
            // Its ID is not known before it runs. Without this variable, any process that finds the
            // sockets accepts them.
            .env_remove("LISTEN_PID")
            .env_remove("LISTEN_FDS_FIRST_FD")
            .env_remove("WATCHDOG_PID")
            .fd_mappings(mappings)
            .map_err(|error| failed(io::Error::other(error)))?;
        let child = command.spawn().map_err(failed)?;
        Ok(Successor {
            child: Some(child),
            socket,
        })
    }
}

/// Searches `PATH`, like a shell.
fn on_path(name: &Path) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH")?;
    let found = std::env::split_paths(&folders).map(|folder| folder.join(name));
    found
        .filter(|path| path.is_file())
        .find_map(|path| std::path::absolute(path).ok())
}

/// A process that does not serve yet. Dropping it kills the process.
pub(super) struct Successor {
    child: Option<Child>,
    socket: tokio::net::UnixStream,
}

impl Successor {
    /// Waits until it serves, and returns its id.
    ///
    /// # Errors
    /// The process ended, or did not serve `within` that time. It no longer runs.
    pub(super) async fn serving(mut self, within: Duration) -> Result<u32, ReplaceError> {
        match tokio::time::timeout(within, self.ready()).await {
            Ok(Ok(())) => {}
            Ok(Err(ended)) => return Err(ended),
            Err(_) => return Err(ReplaceError::Late(within)),
        }
        let child = self.child.take();
        Ok(child.map_or(0, |child| child.id()))
    }

    async fn ready(&mut self) -> Result<(), ReplaceError> {
        let mut message = [0; READY.len()];
        if self.socket.read_exact(&mut message).await.is_ok() && message == READY {
            return Ok(());
        }
        // It has closed its side and is about to end, or is another program.
        while let Some(child) = &mut self.child {
            if let Some(status) = child.try_wait().map_err(ReplaceError::Wait)? {
                return Err(ReplaceError::Ended(status));
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }
}

impl Drop for Successor {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // An error means that it has already ended.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Notifies the previous process, if there is one, that this one serves.
pub(super) fn notify(predecessor: Option<UnixStream>) {
    if let Some(mut predecessor) = predecessor
        && let Err(error) = predecessor.write_all(READY)
    {
        tracing::warn!(%error, "cannot reach the previous process");
    }
}

/// Why the process was not replaced.
#[derive(Debug, Error)]
pub(super) enum ReplaceError {
    #[error("{0}: cannot be started")]
    Start(PathBuf, #[source] io::Error),
    #[error("the new process exited before it was ready: {0}")]
    Ended(ExitStatus),
    #[error("the new process was not ready within {}", humantime::format_duration(*.0))]
    Late(Duration),
    #[error("cannot wait for the new process")]
    Wait(#[source] io::Error),
}
