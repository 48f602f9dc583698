//! Services as processes that can be killed: this binary, started again as one of them.

use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use amends_payment::{Behaviour, Mode};
use amends_sdk::{Participant, Registering};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// The variable that makes this binary a process of the test: service, port, file, coordinator and line.
const VARIABLE: &str = "AMENDS_SERVICES_ROLE";

/// The longest a process may take to listen.
const PATIENCE: Duration = Duration::from_secs(30);

/// A service of a shop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Service {
    Product,
    Inventory,
    Order,
    Payment,
}

impl Service {
    pub(crate) const ALL: [Service; 4] =
        [Service::Product, Service::Inventory, Service::Order, Service::Payment];

    /// Its name as a participant.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Service::Product => "product",
            Service::Inventory => "inventory",
            Service::Order => "order",
            Service::Payment => "payment",
        }
    }

    /// The name of its database's file.
    pub(crate) const fn file(self) -> &'static str {
        match self {
            Service::Product => "product.db",
            Service::Inventory => "inventory.db",
            Service::Order => "order.db",
            Service::Payment => "payment.db",
        }
    }
}

/// What a process is, where it listens and under which address it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Role {
    pub(crate) service: Service,
    pub(crate) port: u16,
    pub(crate) folder: PathBuf,
    /// The coordinator's address.
    pub(crate) coordinator: String,
    /// The address by which the coordinator calls it.
    pub(crate) advertised: String,
}

impl Role {
    /// Its own base URL.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.folder.join(self.service.file())
    }

    fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    fn to_environment(&self) -> String {
        let Role { service, port, folder, coordinator, advertised } = self;
        format!("{},{port},{coordinator},{advertised},{}", service.name(), folder.display())
    }

    fn from_environment() -> Option<Role> {
        let text = std::env::var(VARIABLE).ok()?;
        let mut parts = text.splitn(5, ',');
        let mut part = || parts.next().expect("five parts").to_owned();
        let (name, port, coordinator, advertised, folder) = (part(), part(), part(), part(), part());
        let service = Service::ALL.into_iter().find(|service| service.name() == name).expect("a service");
        Some(Role {
            service,
            port: port.parse().expect("a port"),
            folder: folder.into(),
            coordinator,
            advertised,
        })
    }
}

/// A process with a role. It dies with its guard, and with this process.
#[derive(Debug)]
pub(crate) struct Process(Child);

impl Process {
    /// Starts a process; it does not listen yet.
    pub(crate) fn spawn(role: &Role) -> Process {
        let child = Command::new(std::env::current_exe().expect("this binary has a path"))
            .args(["a_process_of_this_test", "--exact", "--nocapture"])
            .env(VARIABLE, role.to_environment())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("this binary can be started again");
        Process(child)
    }

    /// Ends it with SIGKILL, at once, whatever it is doing; once it has ended there is nothing to do.
    pub(crate) fn kill(&mut self) {
        let _ = self.0.kill();
        self.0.wait().expect("the process has ended");
    }

    /// Its number among the system's processes.
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until somebody takes connections at the role's address.
pub(crate) async fn until_it_listens(role: &Role) {
    let begin = Instant::now();
    while TcpStream::connect(role.address()).await.is_err() {
        assert!(begin.elapsed() < PATIENCE, "{:?} does not listen after {PATIENCE:?}", role.service);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A free port below those that the system gives to outgoing connections, so that no caller that tries to connect to a
/// dead process can take its port.
pub(crate) fn free_port(from: u16) -> u16 {
    let is_free = |port: &u16| StdListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    (from..from + 1000).find(is_free).unwrap_or_else(|| panic!("no free port from {from} on"))
}

/// The databases that a process has open, by the names of their files.
pub(crate) fn open_files(process: u32, folder: &Path) -> Vec<String> {
    let links = std::fs::read_dir(format!("/proc/{process}/fd")).expect("the process is alive");
    let targets = links.filter_map(|link| std::fs::read_link(link.ok()?.path()).ok());
    let here = targets.filter(|target| target.starts_with(folder));
    here.filter_map(|target| Some(target.file_name()?.to_str()?.to_owned())).collect()
}

/// Lives a role, if this process has one, until it is killed or whoever started it is gone.
pub(crate) fn live_if_told_to() {
    let Some(role) = Role::from_environment() else { return };
    install_tls();
    std::thread::spawn(|| {
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let participant = open(&role).await;
        let listener = TcpListener::bind(role.address()).await.expect("the port of the dead process is free");
        let registering = Registering {
            coordinator: role.coordinator.clone(),
            advertise: Some(role.advertised.clone()),
            ..Registering::default()
        };
        let stop = CancellationToken::new();
        amends_sdk::run(&participant, listener, Some(registering), stop).await.expect("the service runs");
    });
}

async fn open(role: &Role) -> Participant {
    let store = format!("sqlite:{}", role.file().display());
    match role.service {
        Service::Product => {
            let opened = amends_product::open(amends_product::Config::new(store)).await;
            opened.expect("product opens").participant().clone()
        }
        Service::Inventory => {
            let opened = amends_inventory::open(amends_inventory::Config::new(store)).await;
            opened.expect("inventory opens").participant().clone()
        }
        Service::Order => {
            let opened = amends_order::open(amends_order::Config::new(store)).await;
            opened.expect("order opens").participant().clone()
        }
        Service::Payment => {
            let behaviour = Behaviour::always(Mode::AtOnce).taking(Duration::from_millis(20), PATIENCE);
            let opened = amends_payment::open(amends_payment::Config::new(store), behaviour).await;
            opened.expect("payment opens").participant().clone()
        }
    }
}

/// Makes HTTP clients possible; the first call in a process counts.
pub(crate) fn install_tls() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}
