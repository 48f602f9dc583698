//! The scratch directory of one run.

use std::os::unix::fs::{DirBuilderExt, chown};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::account::Account;
use crate::keeper::Keeper;

/// The longest directory in which a Unix socket's path still fits into the 107 bytes that it may have.
const ROOT_BYTES_MAX: usize = 60;

/// A directory that is there for one run; the keeper removes it.
#[derive(Debug)]
pub(crate) struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// Makes the directory, where temporary files belong.
    pub(crate) fn new(keeper: &mut Keeper) -> Result<Self> {
        let mut root = std::env::temp_dir();
        if root.as_os_str().len() > ROOT_BYTES_MAX {
            root = PathBuf::from("/tmp");
        }
        let path = root.join(format!("amends-xtask-{}", std::process::id()));
        keeper.remove(&path)?;
        std::fs::DirBuilder::new()
            .mode(0o755)
            .create(&path)
            .with_context(|| format!("creating {}", path.display()))?;
        Ok(Self { path })
    }

    /// Makes a directory in it that only `account` may read.
    pub(crate) fn private(&self, name: &str, account: &Account) -> Result<PathBuf> {
        let path = self.path.join(name);
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .with_context(|| format!("creating {}", path.display()))?;
        account.give(&path)?;
        Ok(path)
    }
}

impl Account {
    /// Makes this account the owner of a path.
    pub(crate) fn give(&self, path: &Path) -> Result<()> {
        let Some((user, group)) = self.ids() else { return Ok(()) };
        chown(path, Some(user), Some(group))
            .with_context(|| format!("giving {} to {}", path.display(), self.name()))
    }
}
