//! Event loops that share one port: the ways of spreading connections over them that `bench/spread` compares.
//!
//! `loops LISTEN WAY LOOPS WORK`, where WORK is the time that a request costs in microseconds, and WAY is one of
//! - `first`: the first loop accepts and hands each connection to the loop with the fewest, as realmgate does
//! - `thread`: the same, but a thread of its own accepts
//! - `reuseport`: each loop has a socket of its own and keeps what the kernel gives it
//! - `corrected`: each loop has a socket of its own and hands connections to the loop with the fewest

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Handle, Runtime};

const USAGE: &str = "usage: loops LISTEN first|thread|reuseport|corrected LOOPS WORK";

struct EventLoop {
    handle: Handle,
    connections: AtomicUsize,
}

struct Loops {
    all: Vec<EventLoop>,
    work: Duration,
}

impl Loops {
    /// Takes a connection that was accepted by a loop, or by a thread that serves none.
    fn take(self: &Arc<Self>, stream: TcpStream, by: Option<usize>, keep: bool) {
        let kept = by.filter(|_| keep);
        let load = |at: &usize| {
            self.all
                .get(*at)
                .map(|it| it.connections.load(Ordering::Relaxed))
        };
        let Some(at) = kept.or_else(|| (0..self.all.len()).min_by_key(load)) else {
            return;
        };
        let Some(event_loop) = self.all.get(at) else {
            return;
        };
        event_loop.connections.fetch_add(1, Ordering::Relaxed);
        let this = Arc::clone(self);
        event_loop.handle.spawn(async move {
            let moved = match by == Some(at) {
                true => Ok(stream),
                false => stream.into_std().and_then(TcpStream::from_std),
            };
            if let Ok(stream) = moved {
                // The client has gone.
                let _ = this.serve(stream).await;
            }
            if let Some(event_loop) = this.all.get(at) {
                event_loop.connections.fetch_sub(1, Ordering::Relaxed);
            }
        });
    }

    /// Answers requests without a body: `/spread` by the connections of each loop, and all others after some work.
    async fn serve(&self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut request = [0; 1024];
        loop {
            let length = stream.read(&mut request).await?;
            let request = request.get(..length).unwrap_or_default();
            if request.is_empty() {
                return Ok(());
            }
            let mut body = String::from("hello");
            if request.starts_with(b"GET /spread ") {
                let counts = self
                    .all
                    .iter()
                    .map(|it| it.connections.load(Ordering::Relaxed).to_string());
                body = format!("[{}]", counts.collect::<Vec<_>>().join(","));
            } else {
                let began = Instant::now();
                while began.elapsed() < self.work {
                    std::hint::spin_loop();
                }
            }
            let closes = request.windows(5).any(|part| part == b"close");
            let close = if closes { "Connection: close\r\n" } else { "" };
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n{close}\r\n",
                body.len()
            );
            stream.write_all((head + &body).as_bytes()).await?;
            if closes {
                return Ok(());
            }
        }
    }
}

fn listen(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    socket.listen(4096)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

async fn accept(listener: std::net::TcpListener, loops: Arc<Loops>, by: Option<usize>, keep: bool) {
    let Ok(listener) = TcpListener::from_std(listener) else {
        return;
    };
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            loops.take(stream, by, keep);
        }
    }
}

fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [address, way, count, work] = arguments.as_slice() else {
        return Err(USAGE.into());
    };
    let (address, count): (SocketAddr, usize) = (address.parse()?, count.parse()?);
    let runtimes = (0..count)
        .map(|_| runtime())
        .collect::<io::Result<Vec<_>>>()?;
    let event_loop = |runtime: &Runtime| EventLoop {
        handle: runtime.handle().clone(),
        connections: AtomicUsize::new(0),
    };
    let loops = Arc::new(Loops {
        all: runtimes.iter().map(event_loop).collect(),
        work: Duration::from_micros(work.parse()?),
    });
    let own = runtime()?;
    match way.as_str() {
        "thread" => drop(own.spawn(accept(listen(address)?, Arc::clone(&loops), None, false))),
        "first" => {
            if let Some(first) = runtimes.first() {
                first.spawn(accept(listen(address)?, Arc::clone(&loops), Some(0), false));
            }
        }
        "reuseport" | "corrected" => {
            for (at, runtime) in runtimes.iter().enumerate() {
                let keep = way == "reuseport";
                runtime.spawn(accept(listen(address)?, Arc::clone(&loops), Some(at), keep));
            }
        }
        _ => return Err(USAGE.into()),
    }
    for runtime in runtimes {
        thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
    }
    own.block_on(std::future::pending())
}
