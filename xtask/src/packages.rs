//! Finding the programs that the tests need, and installing the packages that bring them.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::account::is_root;

/// Where the programs of both servers are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Programs {
    /// `initdb`.
    pub(crate) initdb: PathBuf,
    /// `postgres`, of the same version.
    pub(crate) postgres: PathBuf,
    /// `mariadb-install-db`.
    pub(crate) mariadb_install_db: PathBuf,
    /// `mariadbd`.
    pub(crate) mariadbd: PathBuf,
}

/// What one server is installed from, and the programs that tell whether it is there.
struct Server {
    packages: &'static str,
    programs: [&'static str; 3],
}

const POSTGRESQL: Server = Server { packages: "postgresql", programs: ["initdb", "postgres", "pg_ctl"] };

/// The core packages set up no service of their own. `mariadb-install-db` needs `my_print_defaults`, of the client's.
const MARIADB: Server = Server {
    packages: "mariadb-server-core mariadb-client-core",
    programs: ["mariadb-install-db", "mariadbd", "my_print_defaults"],
};

/// What the commands of the guide for the people on call use beside `amends`, each with the package that brings it: the
/// guide is walked by a test, and its readers have these too.
const TOOLS: [(&str, &str); 5] =
    [("bash", "bash"), ("curl", "curl"), ("jq", "jq"), ("openssl", "openssl"), ("python3", "python3")];

/// Finds every program, after installing what is missing.
///
/// # Errors
/// When a package is missing and cannot be installed here; the message names the packages.
pub(crate) fn provide() -> Result<Programs> {
    let servers = [POSTGRESQL, MARIADB];
    let servers = servers.iter().filter(|server| server.find().is_none());
    let tools = TOOLS.iter().filter(|(program, _)| search(&directories(), program).is_none());
    let missing: Vec<&str> = servers
        .flat_map(|server| server.packages.split(' '))
        .chain(tools.map(|(_, package)| *package))
        .collect();
    if !missing.is_empty() {
        install(&missing).with_context(|| {
            format!(
                "the tests need these packages: {}; install them, for instance with apt-get",
                missing.join(" ")
            )
        })?;
    }
    let [initdb, postgres, _] = POSTGRESQL.found()?;
    let [mariadb_install_db, mariadbd, _] = MARIADB.found()?;
    Ok(Programs { initdb, postgres, mariadb_install_db, mariadbd })
}

impl Server {
    /// Its programs, if all of them are there.
    fn find(&self) -> Option<[PathBuf; 3]> {
        let mut directories = postgres_directories();
        directories.extend(self::directories());
        let [first, second, third] = self.programs.map(|program| search(&directories, program));
        Some([first?, second?, third?])
    }

    fn found(&self) -> Result<[PathBuf; 3]> {
        self.find().with_context(|| {
            format!("{} is installed, and yet there is no {}", self.packages, self.programs.join(", "))
        })
    }
}

/// Where programs are: on the path, and where a user's path may not lead.
fn directories() -> Vec<PathBuf> {
    let mut directories: Vec<PathBuf> =
        std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).collect();
    directories.extend(["/usr/local/sbin", "/usr/sbin", "/usr/local/bin", "/usr/bin"].map(PathBuf::from));
    directories
}

/// The first of `directories` that holds a program of this name. Directories of a version come first, so that two
/// programs of one server are never of two versions.
pub(crate) fn search(directories: &[PathBuf], program: &str) -> Option<PathBuf> {
    directories.iter().map(|directory| directory.join(program)).find(|path| path.is_file())
}

/// Where Debian keeps PostgreSQL's programs, which are not on the path: the newest complete version first.
fn postgres_directories() -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir("/usr/lib/postgresql") else { return Vec::new() };
    let mut versions: Vec<(u32, PathBuf)> = entries
        .filter_map(Result::ok)
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .filter(|(_, bin)| POSTGRESQL.programs.iter().all(|program| bin.join(program).is_file()))
        .collect();
    versions.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    versions.into_iter().map(|(_, bin)| bin).collect()
}

/// Installs packages with apt-get; package lists that are missing or out of date are fetched once.
fn install(packages: &[&str]) -> Result<()> {
    if !Path::new("/usr/bin/apt-get").is_file() {
        bail!("there is no apt-get here to install them with");
    }
    println!("xtask: installing {}", packages.join(" "));
    let mut arguments = vec!["install", "--yes", "--no-install-recommends"];
    arguments.extend(packages);
    if apt_get(&arguments).is_err() {
        update()?;
        apt_get(&arguments)?;
    }
    Ok(())
}

/// Fetches the package lists.
///
/// # Errors
/// When that needs rights that this process has no way to get, or there is no network.
pub(crate) fn update() -> Result<()> {
    apt_get(&["update"])
}

/// Runs apt-get as root; sudo may ask for a password only where there is somebody to ask.
fn apt_get(arguments: &[&str]) -> Result<()> {
    let mut command = if is_root() {
        Command::new("apt-get")
    } else if std::io::stdin().is_terminal() {
        sudo(&[])
    } else {
        sudo(&["-n"])
    };
    let status = command
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdout(Stdio::null())
        .status()
        .context("this is not root, and sudo could not be run")?;
    if !status.success() {
        bail!("apt-get {} failed ({status})", arguments.join(" "));
    }
    Ok(())
}

fn sudo(options: &[&str]) -> Command {
    let mut command = Command::new("sudo");
    command.args(options).args(["DEBIAN_FRONTEND=noninteractive", "apt-get"]);
    command
}

/// What a server says its version is, for the summary: the first number with a dot in it.
pub(crate) fn version(program: &Path) -> String {
    let said = Command::new(program).arg("--version").stdin(Stdio::null()).output();
    let text = said.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    version_in(&text).unwrap_or("of an unknown version").to_owned()
}

fn version_in(text: &str) -> Option<&str> {
    text.split_whitespace().map(|word| word.split('-').next().unwrap_or(word)).find(|word| {
        word.contains('.') && word.chars().all(|letter| letter.is_ascii_digit() || letter == '.')
    })
}

#[cfg(test)]
mod tests {
    //! Reading versions.

    use super::version_in;

    #[test]
    fn a_version_is_found_in_what_servers_say() {
        assert_eq!(version_in("postgres (PostgreSQL) 15.19 (Debian 15.19-0+deb12u1)"), Some("15.19"));
        assert_eq!(
            version_in("mariadbd  Ver 10.11.19-MariaDB-0+deb12u1 for debian-linux-gnu"),
            Some("10.11.19")
        );
        assert_eq!(version_in("no"), None);
    }
}
