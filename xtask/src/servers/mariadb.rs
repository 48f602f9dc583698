//! MariaDB, for one run; it stands for everything that speaks MySQL's protocol.

use anyhow::Result;

use super::{Ground, Plan, Server, password, private_file, ready};
use crate::keeper::{Farewell, Keeper};
use crate::packages::Programs;

/// Makes a data directory, starts its server, and returns it with its URL. The user may create databases.
pub(super) fn start(
    programs: &Programs,
    ground: &Ground<'_>,
    keeper: &mut Keeper,
) -> Result<(Server, String)> {
    let directory = ground.scratch.private("mariadb", ground.account)?;
    let home = directory.display().to_string();
    let arguments = [
        "--no-defaults".to_owned(),
        format!("--datadir={home}/data"),
        "--auth-root-authentication-method=normal".to_owned(),
        "--skip-test-db".to_owned(),
    ];
    ground.set_up(&programs.mariadb_install_db, &directory, &arguments)?;

    let password = password()?;
    private_file(ground.account, &directory.join("first.sql"), &first_statements(&password))?;
    let plan = Plan {
        name: "MariaDB",
        program: &programs.mariadbd,
        directory: &directory,
        farewell: Farewell::Kill,
        answers: ready::mariadb,
    };
    let (server, port) = ground.serve(keeper, &plan, |port| arguments_of_server(&home, port))?;
    Ok((server, format!("mysql://amends:{password}@127.0.0.1:{port}/amends")))
}

/// What the server runs before it lets anybody in: the user, and no way in for a root without a password.
fn first_statements(password: &str) -> String {
    format!(
        "create database if not exists amends;\n\
         create user if not exists 'amends'@'%' identified by '{password}';\n\
         grant all privileges on *.* to 'amends'@'%' with grant option;\n\
         alter user 'root'@'localhost' identified by '{password}';\n"
    )
}

/// The character set is Debian's, which `--no-defaults` would take away.
fn arguments_of_server(home: &str, port: u16) -> Vec<String> {
    [
        "--no-defaults",
        &format!("--datadir={home}/data"),
        &format!("--socket={home}/socket"),
        &format!("--pid-file={home}/pid"),
        &format!("--tmpdir={home}"),
        &format!("--init-file={home}/first.sql"),
        &format!("--port={port}"),
        "--bind-address=127.0.0.1",
        "--skip-name-resolve",
        "--skip-ssl",
        "--max-connections=300",
        "--innodb-buffer-pool-size=64M",
        "--innodb-log-file-size=48M",
        "--character-set-server=utf8mb4",
        "--collation-server=utf8mb4_general_ci",
        "--default-time-zone=+05:30",
    ]
    .map(str::to_owned)
    .to_vec()
}
