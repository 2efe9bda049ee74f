//! A TCP proxy that causes faults: connections that go silent, lose data, are slow, refused, reset, or cut at a
//! certain request.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream, ToSocketAddrs, lookup_host};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const BUFFER: usize = 64 * 1024;
/// The most bytes that are kept for a held connection; the sender has to wait with more.
const MAX_HELD: usize = 16 * 1024 * 1024;
/// The pause after each byte that trickles.
const TRICKLE: Duration = Duration::from_millis(1);

/// What happens to data on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NetworkFault {
    /// It is passed on.
    #[default]
    Pass,
    /// It is kept, and passed on when the fault is over. Nothing is closed.
    Hold,
    /// It is lost, and so is all that follows on the connection, also after the fault is over. Nothing is
    /// closed.
    Drop,
    /// Half of it is passed on, then both ends are reset.
    Reset,
    /// It is passed on after this time.
    Delay(Duration),
    /// It is passed on byte by byte.
    Trickle,
}

/// Where a connection is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CutPoint {
    /// Before the request reaches the server.
    Request,
    /// After the request, before its answer reaches the client.
    Answer,
}

/// Which way data flows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the server.
    ToServer,
    /// From the server to the client.
    ToClient,
    /// Either.
    Both,
}

/// The faults of a connection: to the server, to the client.
#[derive(Debug, Clone, Copy, Default)]
struct ConnectionFaults([NetworkFault; 2]);

impl ConnectionFaults {
    fn set(&mut self, direction: Direction, fault: NetworkFault) {
        let [to_server, to_client] = &mut self.0;
        if direction != Direction::ToClient && *to_server != NetworkFault::Drop {
            *to_server = fault;
        }
        if direction != Direction::ToServer && *to_client != NetworkFault::Drop {
            *to_client = fault;
        }
    }
}

/// Passes connections on to a server, with faults. Stops when it is dropped.
pub struct TcpProxy {
    address: SocketAddr,
    shared: Arc<ProxyState>,
    listener: Mutex<Option<JoinHandle<Option<()>>>>,
}

struct ProxyState {
    server: SocketAddr,
    connections: Mutex<Vec<Arc<Connection>>>,
    of_new: Mutex<ConnectionFaults>,
    refuses: AtomicBool,
    accepted: AtomicU32,
    /// The bytes of the request at which a connection is cut, once.
    cut: Mutex<Option<(Vec<u8>, CutPoint)>>,
    stopped: CancellationToken,
    tasks: TaskTracker,
}

struct Connection {
    faults: watch::Sender<ConnectionFaults>,
    client_has_left: AtomicBool,
    /// The next answer ends the connection.
    is_cut_at_answer: AtomicBool,
    ended: CancellationToken,
}

impl TcpProxy {
    /// A proxy on a free port of the loopback interface.
    ///
    /// # Errors
    /// What the system says.
    pub async fn start(server: impl ToSocketAddrs) -> io::Result<Self> {
        let server = lookup_host(server).await?.next().ok_or(io::ErrorKind::NotFound)?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(ProxyState {
            server,
            connections: Mutex::default(),
            of_new: Mutex::default(),
            refuses: AtomicBool::new(false),
            accepted: AtomicU32::new(0),
            cut: Mutex::default(),
            stopped: CancellationToken::new(),
            tasks: TaskTracker::new(),
        });
        let listener = Mutex::new(Some(shared.listen(listener)));
        Ok(Self { address, shared, listener })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The number of connections accepted so far, refused ones not among them.
    pub fn accepted(&self) -> u32 {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// The number of connections that clients have open.
    pub fn open(&self) -> usize {
        let connections = lock(&self.shared.connections);
        connections.iter().filter(|connection| !connection.client_has_left.load(Ordering::SeqCst)).count()
    }

    /// Sets the fault of connections that are open now, each with this probability. Returns their number.
    pub fn fault_open(
        &self,
        direction: Direction,
        fault: NetworkFault,
        share: f64,
        rng: &mut StdRng,
    ) -> usize {
        let connections = lock(&self.shared.connections);
        let chosen = connections.iter().filter(|_| rng.random_bool(share));
        chosen.map(|connection| connection.faults.send_modify(|faults| faults.set(direction, fault))).count()
    }

    /// Sets the fault of connections that are opened from now on.
    pub fn fault_new(&self, direction: Direction, fault: NetworkFault) {
        lock(&self.shared.of_new).set(direction, fault);
    }

    /// Whether new connections are reset at once.
    pub fn refuse_new(&self, refuses: bool) {
        self.shared.refuses.store(refuses, Ordering::SeqCst);
    }

    /// Ends all faults. Held data flows; a connection that has lost data stays silent.
    pub fn clear(&self) {
        self.refuse_new(false);
        *lock(&self.shared.of_new) = ConnectionFaults::default();
        for connection in lock(&self.shared.connections).iter() {
            connection.faults.send_modify(|faults| faults.set(Direction::Both, NetworkFault::Pass));
        }
    }

    /// Ends all connections and closes the port, as if the server were down.
    pub async fn take_down(&self) {
        let listening = lock(&self.listener).take();
        if let Some(listening) = listening {
            listening.abort();
            // The port is free when the task has ended.
            let _ = listening.await;
        }
        self.close_open();
    }

    /// Listens again after [`take_down`](Self::take_down).
    ///
    /// # Errors
    /// What the system says.
    pub async fn bring_up(&self) -> io::Result<()> {
        let listener = TcpListener::bind(self.address).await?;
        *lock(&self.listener) = Some(self.shared.listen(listener));
        Ok(())
    }

    /// Cuts the connection on which a client sends these bytes next, and no other.
    pub fn cut_at(&self, bytes: &[u8], point: CutPoint) {
        *lock(&self.shared.cut) = Some((bytes.to_vec(), point));
    }

    /// Whether the bytes of [`cut_at`](Self::cut_at) have not been sent yet.
    pub fn is_cut_pending(&self) -> bool {
        lock(&self.shared.cut).is_some()
    }

    /// Ends all connections.
    pub fn close_open(&self) {
        self.close_where(|_| true);
    }

    /// Ends the connections whose client has left, as keepalive does on a server.
    pub fn close_abandoned(&self) {
        self.close_where(|connection| connection.client_has_left.load(Ordering::SeqCst));
    }

    fn close_where(&self, is_meant: impl Fn(&Connection) -> bool) {
        let connections = lock(&self.shared.connections);
        connections.iter().filter(|connection| is_meant(connection)).for_each(|it| it.ended.cancel());
    }

    /// Ends all connections, takes no more, and waits for its tasks.
    pub async fn stop(&self) {
        self.shared.stopped.cancel();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }
}

impl Drop for TcpProxy {
    fn drop(&mut self) {
        self.shared.stopped.cancel();
    }
}

impl ProxyState {
    /// Takes connections until the proxy is stopped or the task is aborted.
    fn listen(self: &Arc<Self>, listener: TcpListener) -> JoinHandle<Option<()>> {
        let accept = Arc::clone(self).accept(listener);
        self.tasks.spawn(self.stopped.clone().run_until_cancelled_owned(accept))
    }

    /// Where the client's data cuts the connection; later data does not.
    fn take_cut(&self, data: &[u8]) -> Option<CutPoint> {
        let mut cut = lock(&self.cut);
        let (bytes, point) = cut.as_ref()?;
        let is_there = data.windows(bytes.len()).any(|window| window == bytes.as_slice());
        let point = is_there.then_some(*point)?;
        *cut = None;
        Some(point)
    }

    async fn accept(self: Arc<Self>, listener: TcpListener) {
        while let Ok((client, _)) = listener.accept().await {
            if self.refuses.load(Ordering::SeqCst) {
                let _ = client.set_zero_linger();
                continue;
            }
            self.accepted.fetch_add(1, Ordering::SeqCst);
            let connection = Arc::new(Connection {
                faults: watch::Sender::new(*lock(&self.of_new)),
                client_has_left: AtomicBool::new(false),
                is_cut_at_answer: AtomicBool::new(false),
                ended: self.stopped.child_token(),
            });
            lock(&self.connections).push(Arc::clone(&connection));
            let shared = Arc::clone(&self);
            self.tasks.spawn(async move {
                let passing = connection.pass(client, &shared);
                let _ = connection.ended.run_until_cancelled(passing).await;
                lock(&shared.connections).retain(|other| !Arc::ptr_eq(other, &connection));
            });
        }
    }
}

impl Connection {
    /// Passes data in both directions until both sides have ended, or one fails.
    async fn pass(&self, client: TcpStream, proxy: &ProxyState) -> io::Result<()> {
        let server = TcpStream::connect(proxy.server).await?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        tokio::try_join!(
            self.pump(proxy, 0, from_client, to_server),
            self.pump(proxy, 1, from_server, to_client)
        )?;
        Ok(())
    }

    /// Passes data in one direction. Reads on while data is held, to notice that the sender has left.
    async fn pump(
        &self,
        proxy: &ProxyState,
        way: usize,
        mut from: OwnedReadHalf,
        mut to: OwnedWriteHalf,
    ) -> io::Result<()> {
        let mut faults = self.faults.subscribe();
        let mut buffer = vec![0; BUFFER];
        let mut held = Vec::new();
        let mut has_ended = false;
        loop {
            let fault = faults.borrow_and_update().0[way];
            if fault != NetworkFault::Hold && !held.is_empty() {
                self.deliver(&std::mem::take(&mut held), fault, &from, &mut to).await?;
            }
            if has_ended && held.is_empty() && !matches!(fault, NetworkFault::Hold | NetworkFault::Drop) {
                return to.shutdown().await;
            }
            tokio::select! {
                length = from.read(&mut buffer), if !has_ended && held.len() < MAX_HELD => {
                    // A sender that has reset the connection has left as well.
                    let length = length.unwrap_or(0);
                    if self.is_cut(proxy, way, &buffer[..length]) {
                        self.ended.cancel();
                        return Ok(());
                    }
                    held.extend_from_slice(&buffer[..length]);
                    has_ended = length == 0;
                    if has_ended && way == 0 {
                        self.client_has_left.store(true, Ordering::SeqCst);
                    }
                }
                _ = faults.changed() => {}
            }
        }
    }

    /// Whether this data ends the connection.
    fn is_cut(&self, proxy: &ProxyState, way: usize, data: &[u8]) -> bool {
        if way == 1 {
            return !data.is_empty() && self.is_cut_at_answer.load(Ordering::SeqCst);
        }
        let cut = proxy.take_cut(data);
        if cut == Some(CutPoint::Answer) {
            self.is_cut_at_answer.store(true, Ordering::SeqCst);
        }
        cut == Some(CutPoint::Request)
    }

    async fn deliver(
        &self,
        data: &[u8],
        fault: NetworkFault,
        from: &OwnedReadHalf,
        to: &mut OwnedWriteHalf,
    ) -> io::Result<()> {
        match fault {
            NetworkFault::Pass | NetworkFault::Hold => to.write_all(data).await,
            NetworkFault::Drop => Ok(()),
            NetworkFault::Delay(delay) => {
                tokio::time::sleep(delay).await;
                to.write_all(data).await
            }
            NetworkFault::Trickle => {
                for byte in data {
                    to.write_u8(*byte).await?;
                    tokio::time::sleep(TRICKLE).await;
                }
                Ok(())
            }
            NetworkFault::Reset => {
                to.write_all(&data[..data.len() / 2]).await?;
                from.as_ref().set_zero_linger()?;
                to.as_ref().set_zero_linger()?;
                self.ended.cancel();
                Ok(())
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use tokio::time::{sleep, timeout};

    use super::*;

    const SOON: Duration = Duration::from_millis(200);

    /// A connection through a proxy to a server that sends back what it gets.
    async fn echo() -> (TcpProxy, TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let proxy = TcpProxy::start(listener.local_addr().unwrap()).await.unwrap();
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = client.split();
                    tokio::io::copy(&mut from, &mut to).await
                });
            }
        });
        let mut client = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(ask(&mut client, b"hello").await.unwrap(), b"hello");
        (proxy, client)
    }

    async fn ask(client: &mut TcpStream, question: &[u8]) -> io::Result<Vec<u8>> {
        client.write_all(question).await?;
        let mut answer = vec![0; question.len()];
        client.read_exact(&mut answer).await?;
        Ok(answer)
    }

    fn fault_all(proxy: &TcpProxy, direction: Direction, fault: NetworkFault) {
        assert_eq!(proxy.fault_open(direction, fault, 1.0, &mut StdRng::seed_from_u64(1)), 1);
    }

    #[tokio::test]
    async fn held_data_flows_later() {
        for direction in [Direction::ToServer, Direction::ToClient, Direction::Both] {
            let (proxy, mut client) = echo().await;
            fault_all(&proxy, direction, NetworkFault::Hold);
            client.write_all(b"later").await.unwrap();
            let mut answer = [0; 5];
            timeout(SOON, client.read_exact(&mut answer)).await.unwrap_err();
            proxy.clear();
            client.read_exact(&mut answer).await.unwrap();
            assert_eq!(&answer, b"later");
        }
    }

    #[tokio::test]
    async fn dropped_data_is_lost_for_good_and_new_connections_work() {
        let (proxy, mut client) = echo().await;
        fault_all(&proxy, Direction::Both, NetworkFault::Drop);
        timeout(SOON, ask(&mut client, b"lost")).await.unwrap_err();
        proxy.clear();
        timeout(SOON, ask(&mut client, b"lost")).await.unwrap_err();
        let mut other = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(ask(&mut other, b"hello").await.unwrap(), b"hello");
        assert_eq!((proxy.accepted(), proxy.open()), (2, 2));
        drop(client);
        sleep(SOON).await;
        assert_eq!((proxy.accepted(), proxy.open()), (2, 1));
        proxy.stop().await;
        assert_eq!(proxy.open(), 0);
    }

    #[tokio::test]
    async fn an_answer_is_reset_in_the_middle() {
        let (proxy, mut client) = echo().await;
        fault_all(&proxy, Direction::ToClient, NetworkFault::Reset);
        let error = ask(&mut client, b"half of it").await.unwrap_err();
        assert!(matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof));
    }

    #[tokio::test]
    async fn slow_data_arrives_whole() {
        for fault in [NetworkFault::Delay(Duration::from_millis(20)), NetworkFault::Trickle] {
            let (proxy, mut client) = echo().await;
            fault_all(&proxy, Direction::Both, fault);
            assert_eq!(ask(&mut client, b"in the end").await.unwrap(), b"in the end");
        }
    }

    #[tokio::test]
    async fn new_connections_are_refused() {
        let (proxy, mut client) = echo().await;
        proxy.refuse_new(true);
        let refused = async { ask(&mut TcpStream::connect(proxy.address()).await?, b"hello").await };
        refused.await.unwrap_err();
        assert_eq!(ask(&mut client, b"hello").await.unwrap(), b"hello");
        assert_eq!(proxy.accepted(), 1);
    }

    #[tokio::test]
    async fn a_connection_is_cut_at_a_request_or_its_answer() {
        for point in [CutPoint::Request, CutPoint::Answer] {
            let (proxy, mut client) = echo().await;
            proxy.cut_at(b"cut", point);
            assert_eq!(ask(&mut client, b"other").await.unwrap(), b"other");
            assert!(proxy.is_cut_pending());
            ask(&mut client, b"to be cut").await.unwrap_err();
            assert!(!proxy.is_cut_pending());
            let mut client = TcpStream::connect(proxy.address()).await.unwrap();
            assert_eq!(ask(&mut client, b"to be cut").await.unwrap(), b"to be cut");
        }
    }

    #[tokio::test]
    async fn the_port_is_closed_while_the_proxy_is_down() {
        let (proxy, mut client) = echo().await;
        proxy.take_down().await;
        ask(&mut client, b"hello").await.unwrap_err();
        let refused = TcpStream::connect(proxy.address()).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        proxy.bring_up().await.unwrap();
        let mut client = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(ask(&mut client, b"hello").await.unwrap(), b"hello");
    }
}
