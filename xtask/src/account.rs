//! The account that the database servers run as: PostgreSQL refuses to run as root, and for good reason.

use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

/// Accounts that will do, best first. The last one is on every system.
const CANDIDATES: [&str; 3] = ["postgres", "mysql", "nobody"];

/// Who runs the servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Account {
    /// Whoever runs this.
    Own,
    /// Another account, since this one is root.
    Other {
        /// Its name.
        name: String,
        /// Its user id.
        user: u32,
        /// Its group id.
        group: u32,
    },
}

/// Whether this process is root.
pub(crate) fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

impl Account {
    /// Picks the account: one's own, unless that is root.
    pub(crate) fn pick() -> Result<Self> {
        if !is_root() {
            return Ok(Self::Own);
        }
        let table = std::fs::read_to_string("/etc/passwd").context("reading /etc/passwd")?;
        CANDIDATES
            .iter()
            .find_map(|name| Self::in_table(&table, name))
            .context("no account postgres, mysql or nobody to run the database servers as: run this as an ordinary user")
    }

    fn in_table(table: &str, wanted: &str) -> Option<Self> {
        table.lines().find_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next().filter(|name| *name == wanted)?.to_owned();
            let user = fields.nth(1)?.parse().ok()?;
            let group = fields.next()?.parse().ok()?;
            Some(Self::Other { name, user, group })
        })
    }

    /// What to call it in a message.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Own => "this account",
            Self::Other { name, .. } => name,
        }
    }

    /// User and group id, where they are not one's own.
    pub(crate) fn ids(&self) -> Option<(u32, u32)> {
        match self {
            Self::Own => None,
            Self::Other { user, group, .. } => Some((*user, *group)),
        }
    }

    /// A command that this account will run, at home in `directory`.
    pub(crate) fn command(&self, program: &Path, directory: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(directory).env("HOME", directory).env("LC_ALL", "C");
        if let Some((user, group)) = self.ids() {
            command.uid(user).gid(group);
        }
        command
    }
}

#[cfg(test)]
mod tests {
    //! Reading the account table.

    use super::Account;

    #[test]
    fn an_account_is_found_by_its_whole_name() {
        let table = "root:x:0:0:root:/root:/bin/sh\nnobody2:x:9:9::/:/\nnobody:x:65534:65533:nobody:/:/usr/sbin/nologin\n";
        let found = Account::in_table(table, "nobody");
        assert_eq!(found, Some(Account::Other { name: "nobody".into(), user: 65534, group: 65533 }));
        assert_eq!(Account::in_table(table, "postgres"), None);
    }
}
