//! A network namespace for this process, in which all ports are free, and which ends with all that runs in it.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use conformance_tests::servers::{Found, Missing};
use libtest_mimic::Arguments;
use nix::unistd::geteuid;

/// Set for the process that is inside.
const INSIDE: &str = "TRACKER_STORAGE_BOOK_IN_NAMESPACE";

/// Brings the loopback interface up and runs the rest.
const SCRIPT: &str = r#"ip link set lo up && "$@"; exit $?"#;

/// Runs this program again inside of a namespace, unless it is there or only lists its tests.
pub fn enter(arguments: &Arguments) -> Found<()> {
    if std::env::var_os(INSIDE).is_some() || arguments.list {
        return Ok(());
    }
    match unshare().arg("true").stdout(Stdio::null()).stderr(Stdio::piped()).output() {
        Ok(tried) if tried.status.success() => {}
        Ok(tried) => {
            let said = String::from_utf8_lossy(&tried.stderr).trim().to_owned();
            return Err(Missing::Absent(format!("no network namespace can be made: {said}")));
        }
        Err(error) => return Err(Missing::Absent(format!("unshare: {error}"))),
    }
    let mut inside = unshare();
    inside.arg(std::env::current_exe().unwrap()).args(std::env::args_os().skip(1)).env(INSIDE, "1");
    // Servers elsewhere cannot be reached from inside.
    for variable in
        ["TRACKER_STORAGE_TEST_PG_URL", "TRACKER_STORAGE_TEST_REDIS_URL", "TRACKER_STORAGE_TEST_WITH"]
    {
        inside.env_remove(variable);
    }
    Err(Missing::Failed(format!("unshare: {}", inside.exec())))
}

fn unshare() -> Command {
    let mut unshare = Command::new("unshare");
    if !geteuid().is_root() {
        unshare.args(["--map-current-user", "--keep-caps"]);
    }
    unshare.args(["--net", "--pid", "--fork", "--kill-child", "--", "sh", "-c", SCRIPT, "sh"]);
    unshare
}
