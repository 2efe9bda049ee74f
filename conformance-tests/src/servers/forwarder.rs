//! A way to a server that can be cut, at once or in the middle of a call.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, ToSocketAddrs, lookup_host};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// More than a message of a test has.
const BUFFER: usize = 64 * 1024;

/// When a way is cut by what is sent on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Before the server has it.
    Before,
    /// After the server has answered, and without the answer.
    After,
}

/// Passes connections on to a server.
pub struct Forwarder {
    address: SocketAddr,
    way: Arc<Way>,
    listener: Mutex<Option<JoinHandle<()>>>,
}

struct Way {
    server: SocketAddr,
    /// Changes when all connections are to end.
    ends: watch::Sender<()>,
    taken: AtomicU32,
    /// What cuts a connection, once.
    trap: Mutex<Option<(Vec<u8>, Cut)>>,
}

impl Forwarder {
    /// A way to a server, from a free port of the loopback interface.
    ///
    /// # Errors
    /// What the system says.
    pub async fn to(server: impl ToSocketAddrs) -> io::Result<Self> {
        let server = lookup_host(server).await?.next().ok_or(io::ErrorKind::NotFound)?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let way = Arc::new(Way {
            server,
            ends: watch::Sender::default(),
            taken: AtomicU32::new(0),
            trap: Mutex::default(),
        });
        let address = listener.local_addr()?;
        let listening = tokio::spawn(Arc::clone(&way).listen(listener));
        Ok(Self { address, way, listener: Mutex::new(Some(listening)) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections it has taken so far.
    pub fn taken(&self) -> u32 {
        self.way.taken.load(Ordering::SeqCst)
    }

    /// Ends all connections, and takes no new ones.
    pub async fn cut(&self) {
        let listening = lock(&self.listener).take();
        if let Some(listening) = listening {
            listening.abort();
            // The port is free when the task is gone.
            let _ = listening.await;
        }
        self.way.ends.send_replace(());
    }

    /// Takes connections again after a cut.
    ///
    /// # Errors
    /// What the system says.
    pub async fn mend(&self) -> io::Result<()> {
        let listener = TcpListener::bind(self.address).await?;
        *lock(&self.listener) = Some(tokio::spawn(Arc::clone(&self.way).listen(listener)));
        Ok(())
    }

    /// Cuts the connection on which a client sends these bytes next, and no other.
    pub fn cut_at(&self, bytes: &[u8], cut: Cut) {
        *lock(&self.way.trap) = Some((bytes.to_vec(), cut));
    }

    /// Whether no such bytes have come yet.
    pub fn is_waiting(&self) -> bool {
        lock(&self.way.trap).is_some()
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        if let Some(listening) = lock(&self.listener).take() {
            listening.abort();
        }
        self.way.ends.send_replace(());
    }
}

impl Way {
    async fn listen(self: Arc<Self>, listener: TcpListener) {
        while let Ok((client, _)) = listener.accept().await {
            self.taken.fetch_add(1, Ordering::SeqCst);
            let way = Arc::clone(&self);
            let mut end = way.ends.subscribe();
            tokio::spawn(async move {
                tokio::select! {
                    _ = end.changed() => {}
                    _ = way.pass(client) => {}
                }
            });
        }
    }

    /// Passes everything on until one side ends the connection or the trap snaps.
    async fn pass(&self, mut client: TcpStream) -> io::Result<()> {
        let mut server = TcpStream::connect(self.server).await?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let (mut sent, mut answered) = (vec![0; BUFFER], vec![0; BUFFER]);
        loop {
            tokio::select! {
                length = client.read(&mut sent) => {
                    let sent = &sent[..length?];
                    let cut = self.snap(sent);
                    if sent.is_empty() || cut == Some(Cut::Before) {
                        return Ok(());
                    }
                    server.write_all(sent).await?;
                    if cut == Some(Cut::After) {
                        server.read_u8().await?;
                        return Ok(());
                    }
                }
                length = server.read(&mut answered) => {
                    let answered = &answered[..length?];
                    if answered.is_empty() {
                        return Ok(());
                    }
                    client.write_all(answered).await?;
                }
            }
        }
    }

    /// Whether these bytes were waited for; they are no more.
    fn snap(&self, sent: &[u8]) -> Option<Cut> {
        let mut trap = lock(&self.trap);
        let has_come = trap
            .as_ref()
            .is_some_and(|(bytes, _)| sent.windows(bytes.len()).any(|window| window == bytes.as_slice()));
        if has_come { trap.take().map(|(_, cut)| cut) } else { None }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
