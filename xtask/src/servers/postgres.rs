//! PostgreSQL, for one run.

use anyhow::Result;

use super::{Ground, Plan, Server, password, private_file, ready};
use crate::keeper::{Farewell, Keeper};
use crate::packages::Programs;

/// Makes a cluster, starts its server, and returns it with its URL. The user may create databases.
pub(super) fn start(
    programs: &Programs,
    ground: &Ground<'_>,
    keeper: &mut Keeper,
) -> Result<(Server, String)> {
    let directory = ground.scratch.private("postgres", ground.account)?;
    let data = directory.join("data").display().to_string();
    let secret = directory.join("password");
    let password = password()?;
    private_file(ground.account, &secret, &password)?;
    let arguments = [
        format!("--pgdata={data}"),
        format!("--pwfile={}", secret.display()),
        "--username=amends".to_owned(),
        "--auth=scram-sha-256".to_owned(),
        "--encoding=UTF8".to_owned(),
        "--no-locale".to_owned(),
    ];
    ground.set_up(&programs.initdb, &directory, &arguments)?;

    let plan = Plan {
        name: "PostgreSQL",
        program: &programs.postgres,
        directory: &directory,
        farewell: Farewell::Quit,
        answers: ready::postgres,
    };
    let sockets = directory.display().to_string();
    let (server, port) = ground.serve(keeper, &plan, |port| arguments_of_server(&data, &sockets, port))?;
    Ok((server, format!("postgres://amends:{password}@127.0.0.1:{port}/postgres")))
}

fn arguments_of_server(data: &str, sockets: &str, port: u16) -> Vec<String> {
    let mut arguments = vec!["-D".to_owned(), data.to_owned(), "-p".to_owned(), port.to_string()];
    let settings = [
        "listen_addresses=127.0.0.1",
        &format!("unix_socket_directories={sockets}"),
        "max_connections=300",
        "shared_buffers=64MB",
        "max_wal_size=256MB",
        "timezone=Asia/Kolkata",
    ];
    for setting in settings {
        arguments.push("-c".to_owned());
        arguments.push(setting.to_owned());
    }
    arguments
}
