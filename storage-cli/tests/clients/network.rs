//! A network of a test's own: the tracker's machine and two others, each with an address of its own, for
//! some clients drop peers at the address that they have themselves.

use std::io::Write;
use std::net::Ipv4Addr;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};

use conformance_tests::servers::{Found, Missing};

/// Makes the network and says so, and removes it when its input ends, because the test lets go of it or
/// dies in whatever way. The switch has a namespace of its own, where no firewall of this machine counts.
const SCRIPT: &str = r#"
name=$1 net=$2
remove() {
    for place in switch seeder leecher; do ip netns del "$name-$place" 2>/dev/null; done
}
make() {
    for place in switch seeder leecher; do ip netns add "$name-$place" || return; done
    ip -n "$name-switch" link add switch type bridge &&
    ip -n "$name-switch" link set switch up &&
    ip link add "$name" type veth peer name tracker netns "$name-switch" &&
    ip address add "$net.1/24" dev "$name" &&
    ip link set "$name" up &&
    ip -n "$name-switch" link set tracker master switch up &&
    port seeder "$net.2" &&
    port leecher "$net.3"
}
port() {
    ip -n "$name-$1" link set lo up &&
    ip -n "$name-$1" link add own type veth peer name "$1" netns "$name-switch" &&
    ip -n "$name-$1" address add "$2/24" dev own &&
    ip -n "$name-$1" link set own up &&
    ip -n "$name-switch" link set "$1" master switch up
}
if make; then
    echo made
    read -r _
fi
remove
"#;

/// The machines of the clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Machine {
    Seeder,
    Leecher,
}

/// A network that ends with this.
pub struct Network {
    keeper: Child,
    name: String,
    net: String,
}

impl Network {
    /// Makes a network that nobody else uses.
    pub fn make() -> Found<Self> {
        static NEXT: AtomicU8 = AtomicU8::new(0);
        // Of the addresses for measurements between networks (RFC 2544), which are nobody's.
        let number = (std::process::id() as u8).wrapping_add(NEXT.fetch_add(1, Ordering::SeqCst));
        let (name, net) = (format!("tracker{number}"), format!("198.18.{number}"));
        let mut keeper = Command::new("sh");
        keeper.args(["-c", SCRIPT, "network", &name, &net]).process_group(0);
        keeper.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut keeper = keeper.spawn().map_err(|error| Missing::Failed(error.to_string()))?;
        let mut said = [0; 4];
        let made = keeper.stdout.as_mut().map(|stdout| std::io::Read::read_exact(stdout, &mut said));
        if !matches!(made, Some(Ok(()))) {
            let output = keeper.wait_with_output().map_err(|error| Missing::Failed(error.to_string()))?;
            let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(Missing::Absent(format!("no network namespaces can be made: {why}")));
        }
        Ok(Self { keeper, name, net })
    }

    /// The address of the tracker's machine, which is this one.
    pub fn of_tracker(&self) -> Ipv4Addr {
        format!("{}.1", self.net).parse().unwrap()
    }

    /// A command that runs on a machine.
    pub fn on(&self, machine: Machine, program: &str) -> Command {
        let mut command = Command::new("ip");
        let machine = if machine == Machine::Seeder { "seeder" } else { "leecher" };
        command.args(["netns", "exec", &format!("{}-{machine}", self.name), program]);
        command
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        if let Some(mut stdin) = self.keeper.stdin.take() {
            let _ = stdin.write_all(b"\n");
        }
        let _ = self.keeper.wait();
    }
}
