//! Another process that takes the place of this one: the program, perhaps a newer one, on the same
//! sockets.

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

/// What a successor says once it serves.
const READY: &[u8] = b"ready\n";
/// The first descriptor that is handed over (`SD_LISTEN_FDS_START` of sd_listen_fds(3)).
const FIRST: i32 = 3;
/// How often it is looked whether a successor that is silent has ended.
const LOOK: Duration = Duration::from_millis(20);

/// How this process was started, and how another is.
pub(super) struct Program {
    path: PathBuf,
    arguments: Vec<OsString>,
}

impl Program {
    /// Notes it. To be called at the start: later another file may be at the path of this one.
    ///
    /// A symbolic link stays one, so that it can be turned to a newer release.
    ///
    /// # Errors
    /// The path is not to be found out.
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

    /// Starts the program that is at the path now, with the arguments and the environment of this
    /// process, on `sockets`.
    pub(super) fn start(
        &self,
        sockets: &[(&'static str, OwnedFd)],
    ) -> Result<Successor, ReplaceError> {
        let failed = |error| ReplaceError::Start(self.path.clone(), error);
        let (ours, theirs) = UnixStream::pair().map_err(failed)?;
        ours.set_nonblocking(true).map_err(failed)?;
        let heard = tokio::net::UnixStream::from_std(ours).map_err(failed)?;
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
            // Whose id is not known before it runs. Without the variable the sockets are for whoever
            // finds them.
            .env_remove("LISTEN_PID")
            .env_remove("LISTEN_FDS_FIRST_FD")
            .env_remove("WATCHDOG_PID")
            .fd_mappings(mappings)
            .map_err(|error| failed(io::Error::other(error)))?;
        let child = command.spawn().map_err(failed)?;
        Ok(Successor {
            child: Some(child),
            heard,
        })
    }
}

/// Looks for a program where a shell would.
fn on_path(name: &Path) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH")?;
    let found = std::env::split_paths(&folders).map(|folder| folder.join(name));
    found
        .filter(|path| path.is_file())
        .find_map(|path| std::path::absolute(path).ok())
}

/// A process that has been started and does not serve yet. Killed when dropped before it does.
pub(super) struct Successor {
    child: Option<Child>,
    heard: tokio::net::UnixStream,
}

impl Successor {
    /// Waits until it serves, and returns its id.
    ///
    /// # Errors
    /// It ends instead, or does not serve `within` that time; then it is no more.
    pub(super) async fn serving(mut self, within: Duration) -> Result<u32, ReplaceError> {
        match tokio::time::timeout(within, self.speaks()).await {
            Ok(Ok(())) => {}
            Ok(Err(ended)) => return Err(ended),
            Err(_) => return Err(ReplaceError::Late(within)),
        }
        let child = self.child.take();
        Ok(child.map_or(0, |child| child.id()))
    }

    async fn speaks(&mut self) -> Result<(), ReplaceError> {
        let mut said = [0; READY.len()];
        if self.heard.read_exact(&mut said).await.is_ok() && said == READY {
            return Ok(());
        }
        // It is about to end, having closed its side, or it is another program.
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
            // Errors say that it has ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Tells the process before this one that this one serves. Without it there is nobody to tell.
pub(super) fn tell(predecessor: Option<UnixStream>) {
    if let Some(mut predecessor) = predecessor
        && let Err(error) = predecessor.write_all(READY)
    {
        tracing::warn!(%error, "cannot reach the previous process");
    }
}

/// Why there is no successor.
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
