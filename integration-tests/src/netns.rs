//! Network namespaces, the links between them, and what runs inside.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use nix::sched::{CloneFlags, setns, unshare};

/// A network namespace that only this process knows: it is gone once the value and all
/// programs inside are.
#[derive(Debug)]
pub struct Netns {
    name: String,
    namespace: File,
}

impl Netns {
    /// Makes one with the loopback interface up. `name` is for messages only.
    ///
    /// # Errors
    /// Without the right to make namespaces.
    pub fn new(name: &str) -> Result<Arc<Self>> {
        let namespace = on_own_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET).context("cannot make a network namespace")?;
            File::open("/proc/thread-self/ns/net").context("cannot hold a network namespace")
        })?;
        let netns = Self { name: name.to_owned(), namespace };
        netns.ip("link set lo up")?;
        // Addresses are usable at once, and nothing is sent that a test did not cause.
        netns.sysctl("net/ipv6/conf/all/accept_dad", "0")?;
        netns.sysctl("net/ipv6/conf/default/accept_dad", "0")?;
        netns.sysctl("net/ipv6/conf/default/router_solicitations", "0")?;
        Ok(Arc::new(netns))
    }

    /// The name it was made with.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Calls `work` on a thread inside: sockets made there belong to the namespace wherever
    /// they are used later.
    ///
    /// # Panics
    /// If `work` does.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        on_own_thread(|| {
            self.enter();
            work()
        })
    }

    /// Moves the calling thread inside, for good.
    ///
    /// # Panics
    /// If the kernel refuses, which it cannot where the namespace could be made.
    pub(crate) fn enter(&self) {
        setns(&self.namespace, CloneFlags::CLONE_NEWNET).expect("who made it may enter");
    }

    /// Runs a program inside to its end and returns what it printed.
    ///
    /// # Errors
    /// If it cannot be started or fails, with what it printed.
    pub fn run(&self, program: &str, args: &[&str]) -> Result<String> {
        let output = self.output(program, args)?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            let errors = String::from_utf8_lossy(&output.stderr);
            bail!(
                "in {}: {program} {}: {}: {text}{errors}",
                self.name,
                args.join(" "),
                output.status
            );
        }
        Ok(text)
    }

    /// Runs a program inside to its end, however it ends.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn output(&self, program: &str, args: &[&str]) -> Result<Output> {
        self.inside(|| Command::new(program).args(args).output())
            .with_context(|| format!("cannot run {program}"))
    }

    /// Runs `ip` with words separated by blanks.
    ///
    /// # Errors
    /// If `ip` fails.
    pub fn ip(&self, words: &str) -> Result<String> {
        self.run("ip", &words.split_whitespace().collect::<Vec<_>>())
    }

    /// Sets a sysctl by its path below /proc/sys.
    ///
    /// # Errors
    /// If there is no such setting.
    pub fn sysctl(&self, path: &str, value: &str) -> Result<()> {
        let path = format!("/proc/sys/{path}");
        self.inside(|| std::fs::write(&path, value))
            .with_context(|| format!("cannot write {value} to {path}"))
    }

    /// A path that other programs can find this namespace by while it exists.
    pub fn path(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", std::process::id(), self.namespace.as_raw_fd()).into()
    }

    /// Lays a cable between two namespaces; the names are those of its ends. Both are up.
    ///
    /// # Errors
    /// If a name is taken.
    pub fn cable(&self, end: &str, other: &Netns, other_end: &str) -> Result<()> {
        let far = other.path();
        self.ip(&format!(
            "link add {end} type veth peer name {other_end} netns {}",
            far.display()
        ))?;
        self.ip(&format!("link set {end} up"))?;
        other.ip(&format!("link set {other_end} up"))?;
        Ok(())
    }

    /// Gives an interface an address, as `10.0.0.1/24`.
    ///
    /// # Errors
    /// If `ip` fails.
    pub fn add_address(&self, interface: &str, address: &str) -> Result<()> {
        let nodad = if address.contains(':') { "nodad" } else { "" };
        self.ip(&format!("address add {address} dev {interface} {nodad}")).map(drop)
    }
}

fn on_own_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| match scope.spawn(work).join() {
        Ok(value) => value,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

/// A shared link: hosts 10.9.0.N and fd09::N on one bridge.
#[derive(Debug)]
pub struct Lan {
    bridge: Arc<Netns>,
}

/// A namespace with one interface, `eth0`, on a [`Lan`].
#[derive(Clone, Debug)]
pub struct Host {
    /// The namespace.
    pub netns: Arc<Netns>,
    /// 10.9.0.N
    pub v4: Ipv4Addr,
    /// fd09::N
    pub v6: Ipv6Addr,
}

impl Lan {
    /// An empty one.
    ///
    /// # Panics
    /// If the kernel refuses: tests ask [`crate::skip::can_run`] first.
    pub fn new() -> Self {
        let bridge = Netns::new("lan").expect("can_run was asked");
        bridge.ip("link add br0 type bridge").expect("a bridge can be made");
        bridge.ip("link set br0 up").expect("it can be switched on");
        Self { bridge }
    }

    /// Attaches a new namespace as number `number`.
    ///
    /// # Panics
    /// If the number is taken.
    pub fn host(&self, name: &str, number: u8) -> Host {
        let netns = Netns::new(name).expect("can_run was asked");
        let port = format!("p{number}");
        netns.cable("eth0", &self.bridge, &port).expect("the number is free");
        self.bridge.ip(&format!("link set {port} master br0")).expect("both are here");
        let v4 = Ipv4Addr::new(10, 9, 0, number);
        let v6 = Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, number.into());
        netns.add_address("eth0", &format!("{v4}/24")).expect("eth0 is new");
        netns.add_address("eth0", &format!("{v6}/64")).expect("eth0 is new");
        Host { netns, v4, v6 }
    }

    /// Pulls (`false`) or plugs in (`true`) the cable of host `number` on the bridge's side.
    ///
    /// # Panics
    /// If there is no such host.
    pub fn plug(&self, number: u8, plugged: bool) {
        let state = if plugged { "up" } else { "down" };
        self.bridge.ip(&format!("link set p{number} {state}")).expect("the host is here");
    }
}

impl Default for Lan {
    fn default() -> Self {
        Self::new()
    }
}

impl Host {
    /// Its address of the family that `like` has.
    pub fn address_like(&self, like: IpAddr) -> IpAddr {
        match like {
            IpAddr::V4(_) => self.v4.into(),
            IpAddr::V6(_) => self.v6.into(),
        }
    }
}
