//! Running the scripts: a directory for a generated module, and the interpreter.

use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};
use tempfile::TempDir;

/// The scripts, which stand beside the module that is generated.
const SCRIPTS: [&str; 4] = ["generate.py", "runtime.py", "participant.py", "drive.py"];

/// A client's module with everything around it, in a directory of its own.
#[derive(Debug)]
pub(crate) struct Generated {
    directory: TempDir,
}

impl Generated {
    /// Generates a client and compiles it.
    pub(crate) fn from(document: &Value) -> Result<Generated, String> {
        let directory = tempfile::tempdir().expect("a directory");
        for script in SCRIPTS {
            let from = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/generated_client").join(script);
            fs::copy(&from, directory.path().join(script)).unwrap_or_else(|why| panic!("{from:?}: {why}"));
        }
        fs::write(directory.path().join("openapi.json"), document.to_string()).expect("the document");
        let generated = Generated { directory };
        generated.run("generate.py", &["openapi.json", "client.py"])?;
        let compile =
            ["-W", "error", "-m", "py_compile", "client.py", "drive.py", "runtime.py", "participant.py"];
        generated.python(&compile)?;
        Ok(generated)
    }

    /// Runs one of the scripts; what it prints, or what it complains of.
    pub(crate) fn run(&self, script: &str, arguments: &[&str]) -> Result<String, String> {
        self.python(&[&[script], arguments].concat())
    }

    fn python(&self, arguments: &[&str]) -> Result<String, String> {
        said(&python(self.directory.path(), arguments))
    }
}

/// Runs the interpreter; that there is none is a failure and no reason to skip anything.
fn python(directory: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new("python3");
    command.args(arguments).current_dir(directory).env("PYTHONDONTWRITEBYTECODE", "1");
    command.output().unwrap_or_else(|why| {
        panic!("python3 cannot be run ({why}); `cargo xtask test` installs it, or apt-get install python3")
    })
}

fn said(output: &Output) -> Result<String, String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match output.status.success() {
        true => Ok(text(&output.stdout)),
        false => Err(format!("{}{}", text(&output.stdout), text(&output.stderr))),
    }
}
