//! The barrier and the writer on SQLite, through a participant's router.

mod world;

/// A database file of its own.
struct Store {
    _folder: tempfile::TempDir,
    address: String,
}

impl Store {
    fn address(&self) -> &str {
        &self.address
    }

    async fn close(self) {}
}

async fn store() -> Store {
    let folder = tempfile::tempdir().expect("a folder");
    let address = format!("sqlite:{}/world.db", folder.path().display());
    Store { _folder: folder, address }
}

mod one_by_one {
    crate::scenarios!(crate::store, crate::world::Run::Each);
}

mod merged {
    crate::scenarios!(crate::store, crate::world::Run::Merged);
}
