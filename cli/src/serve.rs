//! `amends serve`: a coordinator of its own process.

mod watch;

use crate::{
    exit::Exit,
    globals::Globals,
    process,
    settings::{BaseUrl, Listen, Store, Switch, Token, keys},
};
use amends_server::{Config, ListenLimits, Role, SagaLimits, Sample, Server, Timing, Tokens, Traces};
use amends_store::{
    DefinitionPut, DefinitionRow,
    sqlite::{Options, SqliteStore},
};
use amends_wire::definition::Text;
use anyhow::{Context, bail};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// The longest file of tokens, in bytes.
const TOKENS_BYTES_MAX: u64 = 1 << 20;

/// Runs a coordinator.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The first line on standard output says where it listens; the log goes to stderr. SIGTERM and
Ctrl-C stop it: it takes no new work, lets calls in flight end, and gives its sagas back. Sagas
that were under way when it was killed go on at the next start.

Without a token it listens on this machine only. A file of tokens has a role and a token per line:

  admin   7f3c…      registers definitions and participants, and all below
  operate 91ab…      cancels sagas, works on the repair queue, and all below
  submit  c04d…      reads, starts sagas, sends signals

Examples:
  amends serve
  amends serve --listen 127.0.0.1:0 --store sqlite:/var/lib/amends/sagas.db --definitions sagas
  AMENDS_TOKEN=7f3c… amends serve --listen 0.0.0.0:7070
  amends serve --otlp http://127.0.0.1:4318 --otlp-sample 0.1
  AMENDS_HOOK_SECRET=whsec_… amends serve --hook https://hooks.example.com/amends --warn-after 5m")]
pub struct Args {
    /// The address to listen on; port 0 picks a free one [env: AMENDS_LISTEN] [default: 127.0.0.1:7070]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<Listen>,
    /// The address by which participants call back, where it is not that it listens on [env: AMENDS_PUBLIC_URL]
    #[arg(long, value_name = "URL")]
    public_url: Option<BaseUrl>,
    /// Where sagas are kept [env: AMENDS_STORE] [default: sqlite:./amends-data/coordinator.db]
    #[arg(long, value_name = "sqlite:PATH")]
    store: Option<Store>,
    /// Let several coordinators of this machine use the same file [env: AMENDS_SHARED]
    #[arg(long)]
    shared: bool,
    /// Its name in journals and logs [env: AMENDS_NAME] [default: the machine's]
    #[arg(long)]
    name: Option<String>,
    /// A file of lines `role token`, beside --token [env: AMENDS_TOKENS_FILE]
    #[arg(long, value_name = "FILE")]
    tokens_file: Option<PathBuf>,
    /// Sagas that have not ended, at most; further starts are told to come back [env: AMENDS_SAGAS_MAX] [default: 100000]
    #[arg(long, value_name = "NUMBER")]
    sagas_max: Option<std::num::NonZeroUsize>,
    /// Worker threads [env: AMENDS_THREADS] [default: 2]
    #[arg(long, value_name = "NUMBER")]
    threads: Option<std::num::NonZeroUsize>,
    /// Register every definition (*.yaml, *.yml) of this directory at the start [env: AMENDS_DEFINITIONS]
    #[arg(long, value_name = "DIR")]
    definitions: Option<PathBuf>,
    /// Send traces to this OpenTelemetry collector (OTLP over HTTP) [env: AMENDS_OTLP]
    #[arg(long, value_name = "URL")]
    otlp: Option<BaseUrl>,
    /// The share of sagas to trace whole, from 0 to 1; what goes wrong always is [env: AMENDS_OTLP_SAMPLE] [default: 1]
    #[arg(long, value_name = "SHARE")]
    otlp_sample: Option<Sample>,
    #[command(flatten)]
    watch: watch::Watch,
    #[command(flatten)]
    budgets: watch::Budgets,
}

impl Args {
    /// How many worker threads the runtime is to have.
    ///
    /// # Errors
    /// When the setting is no number from 1.
    pub fn threads(&self, globals: &Globals) -> anyhow::Result<usize> {
        Ok(globals.settings.require(&keys::SERVE_THREADS, self.threads)?.get())
    }
}

/// Runs a coordinator until it is told to stop.
///
/// # Errors
/// When it cannot listen, its store cannot be used, or it meets a fault it cannot go on from.
pub async fn run(args: Args, globals: &Globals) -> anyhow::Result<Exit> {
    let settings = &globals.settings;
    let listen: Listen = settings.require(&keys::SERVE_LISTEN, args.listen)?;
    let tokens_file: Option<PathBuf> = settings.get(&keys::SERVE_TOKENS_FILE, args.tokens_file)?;
    let tokens = tokens(globals.token.as_ref(), tokens_file.as_deref())?;
    if !listen.0.ip().is_loopback() && tokens.is_empty() {
        bail!(
            "listening on {listen} is open to others than this machine, and no token is set; set one with --token, \
             AMENDS_TOKEN or --tokens-file, or listen on 127.0.0.1"
        );
    }
    let at: Store = settings.require(&keys::SERVE_STORE, args.store)?;
    let shared = args.shared.then_some(Switch(true));
    let shared = settings.require(&keys::SERVE_SHARED, shared)?.0;
    let name = settings.get(&keys::SERVE_NAME, args.name)?.unwrap_or_else(host_name);
    let sagas_max: std::num::NonZeroUsize = settings.require(&keys::SERVE_SAGAS_MAX, args.sagas_max)?;
    let definitions = settings.get(&keys::SERVE_DEFINITIONS, args.definitions)?;
    let sample = settings.require(&keys::SERVE_OTLP_SAMPLE, args.otlp_sample)?;
    let otlp = settings.get(&keys::OTLP, args.otlp)?;
    let traces = otlp.map(|url| Traces { url: url.to_string(), sample });
    let defaults = args.budgets.read(settings)?;
    let (monitor, hooks) = (args.watch.monitoring(settings)?, args.watch.hooks(settings)?);

    let listener = process::listen(listen).await?;
    let public_url = match settings.get::<BaseUrl>(&keys::SERVE_PUBLIC_URL, args.public_url)? {
        Some(url) => url.to_string(),
        None => reachable(listener.local_addr()?),
    };
    let store = Arc::new(open(&at, shared, &name).await?);
    if let Some(dir) = definitions {
        register_all(store.as_ref(), &dir).await?;
    }
    let sagas = SagaLimits { sagas_max: sagas_max.get(), ..SagaLimits::default() };
    let config = Config {
        name: name.clone(),
        tokens,
        sagas,
        listen: ListenLimits::default(),
        timing: Timing::default(),
        defaults,
        traces,
        monitor,
        public_url: Some(public_url),
        hooks,
    };
    let stop = process::stop_on_signal()?;
    let mut server = Server::start(config, store, listener).await?;
    tracing::info!(name, store = %at, address = %server.address(), "the coordinator runs");
    process::announce(server.address());
    tokio::select! {
        () = stop.cancelled() => {
            server.stop().await;
            tracing::info!("the coordinator has stopped");
            Ok(Exit::Done)
        }
        () = server.failed() => bail!(
            "the coordinator can no longer drive its sagas, see the log; started again, it goes on where it was"
        ),
    }
}

/// Opens a coordinator's store, making its directory where there is none.
///
/// # Errors
/// When the directory cannot be made or the store cannot be used.
pub async fn open(at: &Store, shared: bool, name: &str) -> anyhow::Result<SqliteStore> {
    at.make_directory()?;
    let options = Options { shared, name: name.to_owned(), ..Options::new(at.path()) };
    SqliteStore::open(options).await.with_context(|| format!("the store {at} cannot be used"))
}

/// Registers a definition's text in the store, before a coordinator reads it.
///
/// # Errors
/// When the text has faults, its version is taken by other content, or the store does not answer.
pub async fn register(store: &dyn amends_store::Store, file: &str, source: &str) -> anyhow::Result<()> {
    let text = Text::read(source).map_err(|faults| {
        let shown = faults.render(file, source);
        anyhow::anyhow!("a definition has faults and is not registered\n\n{}", shown.trim_end())
    })?;
    let row = DefinitionRow {
        hash: text.hash.clone(),
        name: text.name.to_string(),
        version: text.version,
        registered: true,
        text: text.to_json().to_string(),
        created_at: amends_server::clock::now(),
    };
    let (name, version) = (&text.name, text.version);
    match store.put_definition(&row).await? {
        DefinitionPut::New => tracing::info!(%name, version, "registered a definition"),
        DefinitionPut::Same => tracing::debug!(%name, version, "the definition is registered already"),
        DefinitionPut::Conflict(_) => {
            bail!("{file}: {name}@{version} is registered with other content; raise its version")
        }
    }
    Ok(())
}

async fn register_all(store: &SqliteStore, dir: &Path) -> anyhow::Result<()> {
    let entries = std::fs::read_dir(dir)
        .with_context(|| format!("the definitions in {} cannot be read", dir.display()))?;
    let mut files: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "yaml" || extension == "yml"));
    files.sort();
    if files.is_empty() {
        tracing::warn!(dir = %dir.display(), "the directory holds no definition (*.yaml, *.yml)");
    }
    for file in files {
        let name = file.display().to_string();
        let source = std::fs::read_to_string(&file).with_context(|| format!("{name} cannot be read"))?;
        register(store, &name, &source).await?;
    }
    Ok(())
}

/// The tokens to accept: the one of `--token` as admin, and those of the file.
fn tokens(token: Option<&Token>, file: Option<&Path>) -> anyhow::Result<Tokens> {
    let text = match file {
        None => String::new(),
        Some(path) => {
            read_tokens(path).with_context(|| format!("the tokens in {} cannot be read", path.display()))?
        }
    };
    let mut pairs = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let place = || file.map(|file| format!("{}:{number}", file.display())).unwrap_or_default();
        pairs.extend(token_line(line).map_err(|why| anyhow::anyhow!("{}: {why}", place()))?);
    }
    pairs.extend(token.map(|token| (token.reveal(), Role::Admin)));
    Ok(Tokens::new(pairs))
}

fn read_tokens(path: &Path) -> std::io::Result<String> {
    if std::fs::metadata(path)?.len() > TOKENS_BYTES_MAX {
        return Err(std::io::Error::other(format!("it is longer than {TOKENS_BYTES_MAX} bytes")));
    }
    std::fs::read_to_string(path)
}

/// Reads `role token`; nothing for an empty line or a comment.
fn token_line(line: &str) -> Result<Option<(&str, Role)>, String> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let expected = "expected a role (submit, operate or admin), a space and a token";
    let (role, token) = line.split_once(char::is_whitespace).ok_or(expected)?;
    let role = match role {
        "submit" => Role::Submit,
        "operate" => Role::Operate,
        "admin" => Role::Admin,
        _ => return Err(expected.to_owned()),
    };
    token.trim().parse::<Token>()?;
    Ok(Some((token.trim(), role)))
}

/// By which address others most likely reach a listener.
fn reachable(address: std::net::SocketAddr) -> String {
    if address.ip().is_unspecified() {
        format!("http://{}:{}", host_name(), address.port())
    } else {
        BaseUrl::of(address).to_string()
    }
}

fn host_name() -> String {
    let name =
        std::fs::read_to_string("/proc/sys/kernel/hostname").ok().or_else(|| std::env::var("HOSTNAME").ok());
    name.map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "amends".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_tokens_are_read_or_refused() {
        for (line, expected) in [
            ("", Ok(None)),
            ("  # a comment", Ok(None)),
            ("admin s3cret", Ok(Some(("s3cret", Role::Admin)))),
            ("submit\t abc", Ok(Some(("abc", Role::Submit)))),
            ("s3cret", Err("expected a role")),
            ("root s3cret", Err("expected a role")),
            ("operate two words", Err("a token has no spaces")),
        ] {
            match (token_line(line), expected) {
                (Ok(read), Ok(expected)) => assert_eq!(read, expected, "{line:?}"),
                (Err(why), Err(expected)) => assert!(why.starts_with(expected), "{line:?}: {why}"),
                (read, expected) => panic!("{line:?}: {read:?}, expected {expected:?}"),
            }
        }
    }
}
