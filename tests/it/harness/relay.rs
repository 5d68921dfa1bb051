//! A TCP relay that can stop passing bytes, like a network that loses all packets.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// A running relay. Its threads end with the test process.
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    is_stopped: Arc<AtomicBool>,
    delay: Arc<AtomicU64>,
}

impl Relay {
    pub(crate) fn start(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let is_stopped = Arc::new(AtomicBool::new(false));
        let delay = Arc::new(AtomicU64::new(0));
        let (stopped, delayed) = (Arc::clone(&is_stopped), Arc::clone(&delay));
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(to) else {
                    continue;
                };
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    let (stopped, delay) = (Arc::clone(&stopped), Arc::clone(&delayed));
                    thread::spawn(move || pass(from, to, &stopped, &delay));
                }
            }
        });
        Self {
            address,
            is_stopped,
            delay,
        }
    }

    /// Delays what it passes from now on, in each direction.
    pub(crate) fn delay(&self, delay: Duration) {
        let millis = u64::try_from(delay.as_millis()).unwrap();
        self.delay.store(millis, Ordering::Release);
    }

    /// Stops passing bytes, and leaves the connections open.
    pub(crate) fn stop(&self) {
        self.is_stopped.store(true, Ordering::Release);
    }

    /// Passes bytes again, including those held back.
    pub(crate) fn go_on(&self) {
        self.is_stopped.store(false, Ordering::Release);
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, is_stopped: &AtomicBool, delay: &AtomicU64) {
    let mut bytes = [0; 16 << 10];
    while let Ok(read @ 1..) = from.read(&mut bytes) {
        thread::sleep(Duration::from_millis(delay.load(Ordering::Acquire)));
        while is_stopped.load(Ordering::Acquire) {
            thread::sleep(Duration::from_millis(10));
        }
        if to.write_all(&bytes[..read]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}
