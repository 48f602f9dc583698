//! What every command knows: where the coordinator is, what to show it, and whether a program reads the output.

use crate::{
    args::GlobalArgs,
    client::Client,
    settings::{BaseUrl, LogFormat, Settings, SettingsError, Token, keys},
};

/// The values of the flags that hold for every command, with the layers below them.
#[derive(Debug, Clone)]
pub struct Globals {
    /// Where the coordinator answers.
    pub coordinator: BaseUrl,
    /// The bearer token.
    pub token: Option<Token>,
    /// Whether output is JSON.
    pub json: bool,
    /// What to log; the command's own choice when nobody says anything.
    pub log: Option<String>,
    /// How to write the log.
    pub log_format: LogFormat,
    /// The layers below the command line, for a command's own settings.
    pub settings: Settings,
    /// Which of the above were flags, as `amends config` shows them.
    pub flags: Vec<(&'static str, String)>,
}

impl Globals {
    /// Finds the values for a command line.
    ///
    /// # Errors
    /// [`SettingsError`].
    pub fn read(args: &GlobalArgs) -> Result<Globals, SettingsError> {
        let settings = Settings::read(args.config.as_deref(), |name| std::env::var(name).ok())?;
        let mut flags = Vec::new();
        let mut note = |name, value: Option<String>| flags.extend(value.map(|value| (name, value)));
        note("coordinator", args.coordinator.as_ref().map(ToString::to_string));
        note("token", args.token.as_ref().map(|token| token.reveal().to_owned()));
        note("log", args.log.clone());
        note("log_format", args.log_format.map(|format| format!("{format:?}").to_lowercase()));
        Ok(Globals {
            coordinator: settings.require(&keys::COORDINATOR, args.coordinator.clone())?,
            token: settings.get(&keys::TOKEN, args.token.clone())?,
            json: args.json,
            log: settings.get(&keys::LOG, args.log.clone())?,
            log_format: settings.require(&keys::LOG_FORMAT, args.log_format)?,
            settings,
            flags,
        })
    }

    /// A client for the coordinator.
    ///
    /// # Errors
    /// When the system gives no HTTP client.
    pub fn client(&self) -> anyhow::Result<Client> {
        Ok(Client::new(self.coordinator.clone(), self.token.clone())?)
    }
}
