//! Processes that can be killed: this binary, started again as a coordinator or as a participant.

use crate::{
    dying::{Dying, Moment},
    ledger,
};
use amends_server::{Config, ListenLimits, SagaLimits, Server, Timing, Tokens};
use amends_store::{
    Store,
    sqlite::{Options, SqliteStore},
};
use std::{
    io::Read,
    net::{Ipv4Addr, SocketAddr, TcpListener as StdListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};
use tokio::net::{TcpListener, TcpStream};

/// The variable that makes this binary a process of the test: role, port and file.
const VARIABLE: &str = "AMENDS_KILL_ROLE";

/// The variable that says at which commit a coordinator dies by itself, if at any.
const MOMENT: &str = "AMENDS_KILL_MOMENT";

/// The longest a process may take to listen.
const PATIENCE: Duration = Duration::from_secs(30);

/// The lease of one of several coordinators.
const SHORT: Duration = Duration::from_secs(1);

/// What a process is, where it listens and which file it owns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Role {
    kind: Kind,
    pub(crate) port: u16,
    pub(crate) file: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A coordinator that has its store alone.
    Coordinator,
    /// One of several on the same store.
    Member,
    Participant,
}

/// The two sides of a world.
#[derive(Debug)]
pub(crate) struct Sides {
    pub(crate) coordinators: Vec<Role>,
    pub(crate) participant: Role,
}

/// A process with a role. It dies with its guard, and with this process.
#[derive(Debug)]
pub(crate) struct Process {
    role: Role,
    child: Child,
}

impl Sides {
    /// So many coordinators on one store, and a participant with a file of its own, in `folder`.
    pub(crate) fn in_folder(folder: &Path, coordinators: usize) -> Sides {
        let kind = if coordinators == 1 { Kind::Coordinator } else { Kind::Member };
        let mut port = 11_000 + u16::try_from(std::process::id() % 10_000).expect("below 10,000");
        let mut role = |kind, name: &str| {
            port = free_port(port + 1);
            Role { kind, port, file: folder.join(name) }
        };
        Sides {
            coordinators: (0..coordinators).map(|_| role(kind, "coordinator.db")).collect(),
            participant: role(Kind::Participant, "ledger.db"),
        }
    }
}

impl Role {
    /// Its base URL.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// The role this process was started with.
    pub(crate) fn from_environment() -> Option<Role> {
        let text = std::env::var(VARIABLE).ok()?;
        let mut parts = text.splitn(3, ',');
        let kind = match parts.next() {
            Some("coordinator") => Kind::Coordinator,
            Some("member") => Kind::Member,
            Some("participant") => Kind::Participant,
            other => panic!("{VARIABLE}: {other:?} is not a role"),
        };
        let port = parts.next().and_then(|port| port.parse().ok()).expect("a port");
        Some(Role { kind, port, file: parts.next().expect("a file").into() })
    }

    fn to_environment(&self) -> String {
        let kind = match self.kind {
            Kind::Coordinator => "coordinator",
            Kind::Member => "member",
            Kind::Participant => "participant",
        };
        format!("{kind},{},{}", self.port, self.file.display())
    }
}

impl Process {
    /// Starts a process and waits until it listens.
    pub(crate) async fn start(role: &Role) -> Process {
        let mut process = Process { role: role.clone(), child: spawn(role, None) };
        process.until_it_listens().await;
        process
    }

    /// Ends it with SIGKILL, at once, whatever it is doing.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("the process can be killed");
        self.child.wait().expect("the process has ended");
    }

    /// Starts it again after a kill, on the same address and the same file.
    pub(crate) fn restart(&mut self) {
        self.child = spawn(&self.role, None);
    }

    /// Starts it again after a kill, to die by itself at a moment.
    pub(crate) fn restart_to_die(&mut self, moment: Moment) {
        self.child = spawn(&self.role, Some(moment));
    }

    /// Whether it has died by itself.
    pub(crate) fn has_died(&mut self) -> bool {
        self.child.try_wait().expect("the process can be asked for").is_some()
    }

    /// Waits until it takes connections.
    pub(crate) async fn until_it_listens(&mut self) {
        let listens = async {
            while TcpStream::connect(self.role.address()).await.is_err() {
                let ended = self.child.try_wait().expect("the process can be asked for");
                assert!(ended.is_none(), "the process ended by itself: {ended:?}, {:?}", self.role);
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, listens).await;
        assert!(in_time.is_ok(), "{:?} does not listen after {PATIENCE:?}", self.role);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(role: &Role, dies: Option<Moment>) -> Child {
    Command::new(std::env::current_exe().expect("this binary has a path"))
        .args(["a_process_of_this_test", "--exact", "--nocapture"])
        .env(VARIABLE, role.to_environment())
        .envs(dies.map(|moment| (MOMENT, moment.to_string())))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("this binary can be started again")
}

/// A free port below those that the system gives to outgoing connections, so that no caller that tries to
/// connect to a dead process can take its port, or meet itself.
fn free_port(from: u16) -> u16 {
    let is_free = |port: &u16| StdListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    (from..from + 1000).find(is_free).unwrap_or_else(|| panic!("no free port from {from} on"))
}

/// Lives a role until it is killed, or until whoever started it is gone.
pub(crate) fn live(role: &Role) {
    install_tls();
    std::thread::spawn(|| {
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        match role.kind {
            Kind::Coordinator => coordinate(role, false, Timing::default()).await,
            // A short lease, so that those who live soon take over from those who died.
            Kind::Member => {
                coordinate(role, true, Timing { lease: SHORT, claim_every: SHORT / 10, ..Timing::default() })
                    .await
            }
            Kind::Participant => ledger::serve(listen(role).await, &role.file).await,
        }
    });
}

async fn coordinate(role: &Role, shared: bool, timing: Timing) {
    let options = Options { shared, ..Options::new(&role.file) };
    let store = SqliteStore::open(options).await.expect("the store opens");
    let config = Config {
        name: format!("process {}", std::process::id()),
        tokens: Tokens::default(),
        sagas: SagaLimits::default(),
        listen: ListenLimits::default(),
        timing,
        defaults: amends_wire::definition::Defaults::default(),
        traces: None,
        ..Config::default()
    };
    let store: Arc<dyn Store> = match std::env::var(MOMENT).ok() {
        None => Arc::new(store),
        Some(text) => Arc::new(Dying {
            store,
            moment: text.parse().unwrap_or_else(|error| panic!("{MOMENT}={text}: {error}")),
            commits: AtomicU64::new(0),
        }),
    };
    let mut server = Server::start(config, store, listen(role).await).await.expect("it starts");
    server.failed().await;
    panic!("the run loop ended by itself");
}

async fn listen(role: &Role) -> TcpListener {
    TcpListener::bind(role.address()).await.expect("the port of the dead process is free")
}

/// Makes HTTP clients possible; the first call in a process counts.
pub(crate) fn install_tls() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}
