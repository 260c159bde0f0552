//! A relay that passes every byte on, cut into pieces as asked, in both directions.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// How bytes are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// As they come.
    Whole,
    /// One at a time.
    Bytes,
    /// Into pieces of any size, the same for the same seed.
    Random(u64),
}

/// A relay to one address. It ends with the test's runtime.
pub(crate) struct Splitter {
    /// Where to connect.
    pub(crate) address: SocketAddr,
    cut: Arc<Mutex<Cut>>,
}

impl Splitter {
    /// A relay to `to` that passes bytes on as they come.
    pub(crate) async fn start(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let cut = Arc::new(Mutex::new(Cut::Whole));
        let now = Arc::clone(&cut);
        tokio::spawn(async move {
            loop {
                let (near, _) = listener.accept().await.unwrap();
                let far = TcpStream::connect(to).await.unwrap();
                let cut = *now.lock().unwrap();
                relay(near, far, cut);
            }
        });
        Self { address, cut }
    }

    /// How connections from now on are cut.
    pub(crate) fn cut(&self, cut: Cut) {
        *self.cut.lock().unwrap() = cut;
    }
}

fn relay(near: TcpStream, far: TcpStream, cut: Cut) {
    for socket in [&near, &far] {
        socket.set_nodelay(true).unwrap();
    }
    let (from_near, to_near) = near.into_split();
    let (from_far, to_far) = far.into_split();
    tokio::spawn(pass(from_near, to_far, Sizes::new(cut, 0)));
    tokio::spawn(pass(from_far, to_near, Sizes::new(cut, 1)));
}

async fn pass(mut from: impl AsyncReadExt + Unpin, mut to: impl AsyncWriteExt + Unpin, mut sizes: Sizes) {
    let mut buffer = vec![0; 64 * 1024];
    // A peer that is gone is an end like any other here: what it means is for the tests to say.
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let mut rest = &buffer[..count];
        while !rest.is_empty() {
            let (piece, later) = rest.split_at(sizes.next(rest.len()));
            if to.write_all(piece).await.is_err() {
                return;
            }
            rest = later;
            // All is in one thread: whoever waits for the piece reads it before the next one is written.
            tokio::task::yield_now().await;
            tokio::task::yield_now().await;
        }
    }
    let _gone = to.shutdown().await;
}

/// The sizes of the pieces of one direction.
enum Sizes {
    Whole,
    Bytes,
    Random(fastrand::Rng),
}

impl Sizes {
    fn new(cut: Cut, direction: u64) -> Self {
        match cut {
            Cut::Whole => Self::Whole,
            Cut::Bytes => Self::Bytes,
            Cut::Random(seed) => Self::Random(fastrand::Rng::with_seed(seed.wrapping_mul(2) + direction)),
        }
    }

    /// The size of the next piece of what is left.
    fn next(&mut self, left: usize) -> usize {
        match self {
            Self::Whole => left,
            Self::Bytes => 1,
            // Most are shorter than a header, some as long as a buffer.
            Self::Random(random) => {
                let longest = *random.choice([6, 6, 60, 9000].iter()).unwrap();
                random.usize(1..=longest).min(left)
            }
        }
    }
}
