//! The flags of `amends serve` for what happens to steps that cannot be undone: how often they are tried, who watches
//! them, and who is told.

use crate::settings::{Attempts, Factor, HookSecret, HookUrl, Key, Period, Quick, Settings, keys};
use amends_saga::schedule::{Schedule, UndoSchedule};
use amends_server::{
    Monitoring,
    hooks::{Hook, HookEvent},
};
use amends_wire::definition::Defaults;
use anyhow::bail;

/// How often and how patiently calls are tried where neither the definition nor the operation says.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Retries, where neither the definition nor the operation says")]
pub(super) struct Budgets {
    /// The bound on one attempt [env: AMENDS_TIMEOUT] [default: 5s]
    #[arg(long, value_name = "SPAN")]
    timeout: Option<Period>,
    /// Attempts of an action [env: AMENDS_ACTION_ATTEMPTS] [default: 5]
    #[arg(long, value_name = "NUMBER")]
    action_attempts: Option<Attempts>,
    /// The wait before an action's second attempt [env: AMENDS_ACTION_FIRST] [default: 100ms]
    #[arg(long, value_name = "SPAN")]
    action_first: Option<Period>,
    /// What each further wait is multiplied by [env: AMENDS_ACTION_FACTOR] [default: 2]
    #[arg(long, value_name = "NUMBER")]
    action_factor: Option<Factor>,
    /// The longest wait between an action's attempts [env: AMENDS_ACTION_MAX] [default: 5s]
    #[arg(long, value_name = "SPAN")]
    action_max: Option<Period>,
    /// Quick attempts of a compensation, in line [env: AMENDS_COMPENSATION_QUICK] [default: 3]
    #[arg(long, value_name = "NUMBER")]
    compensation_quick: Option<Quick>,
    /// Slow attempts of a compensation after those [env: AMENDS_COMPENSATION_ATTEMPTS] [default: 12]
    #[arg(long, value_name = "NUMBER")]
    compensation_attempts: Option<Attempts>,
    /// The wait before a compensation's second slow attempt [env: AMENDS_COMPENSATION_FIRST] [default: 1s]
    #[arg(long, value_name = "SPAN")]
    compensation_first: Option<Period>,
    /// What each further wait is multiplied by [env: AMENDS_COMPENSATION_FACTOR] [default: 2]
    #[arg(long, value_name = "NUMBER")]
    compensation_factor: Option<Factor>,
    /// The longest wait between a compensation's attempts [env: AMENDS_COMPENSATION_MAX] [default: 5m]
    #[arg(long, value_name = "SPAN")]
    compensation_max: Option<Period>,
    /// The age at which a compensation is not tried any more [env: AMENDS_COMPENSATION_WITHIN] [default: 24h]
    #[arg(long, value_name = "SPAN")]
    compensation_within: Option<Period>,
}

/// Who watches the repair queue, and who is told of it.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "The repair queue")]
pub(super) struct Watch {
    /// Between two rounds of questions about stuck steps [env: AMENDS_MONITOR_EVERY] [default: 30s]
    #[arg(long, value_name = "SPAN")]
    monitor_every: Option<Period>,
    /// The age at which a repair item is warned of [env: AMENDS_WARN_AFTER] [default: 15m]
    #[arg(long, value_name = "SPAN")]
    warn_after: Option<Period>,
    /// The age at which somebody is called to a repair item [env: AMENDS_PAGE_AFTER] [default: 1h]
    #[arg(long, value_name = "SPAN")]
    page_after: Option<Period>,
    /// Between two comparisons of the participants' tables with the sagas [env: AMENDS_AUDIT_EVERY] [default: 5m]
    #[arg(long, value_name = "SPAN")]
    audit_every: Option<Period>,
    /// How long sagas must have been at rest to be compared [env: AMENDS_AUDIT_SETTLE] [default: 60s]
    #[arg(long, value_name = "SPAN")]
    audit_settle: Option<Period>,
    /// Tell this address of repair items, beside the `[[hooks]]` of the file; may be given several times. Messages are signed
    /// with AMENDS_HOOK_SECRET [env: AMENDS_HOOK]
    #[arg(long, value_name = "URL")]
    hook: Vec<HookUrl>,
}

impl Budgets {
    /// The deployment's defaults.
    ///
    /// # Errors
    /// When a value does not fit, or a first wait is longer than the longest.
    pub(super) fn read(&self, settings: &Settings) -> anyhow::Result<Defaults> {
        let period = |key: &Key, flag: Option<Period>| settings.require(key, flag).map(Period::millis);
        let action = Schedule {
            attempts: settings.require(&keys::SERVE_ACTION_ATTEMPTS, self.action_attempts)?.get(),
            first: period(&keys::SERVE_ACTION_FIRST, self.action_first)?,
            factor: settings.require(&keys::SERVE_ACTION_FACTOR, self.action_factor)?.get(),
            max: period(&keys::SERVE_ACTION_MAX, self.action_max)?,
        };
        let slow = Schedule {
            attempts: settings.require(&keys::SERVE_COMPENSATION_ATTEMPTS, self.compensation_attempts)?.get(),
            first: period(&keys::SERVE_COMPENSATION_FIRST, self.compensation_first)?,
            factor: settings.require(&keys::SERVE_COMPENSATION_FACTOR, self.compensation_factor)?.get(),
            max: period(&keys::SERVE_COMPENSATION_MAX, self.compensation_max)?,
        };
        for (schedule, of) in [(action, "action"), (slow, "compensation")] {
            if schedule.first > schedule.max {
                bail!("serve.{of}_first is longer than serve.{of}_max; `amends config` shows both");
            }
        }
        let quick = settings.require(&keys::SERVE_COMPENSATION_QUICK, self.compensation_quick)?.get();
        let within = period(&keys::SERVE_COMPENSATION_WITHIN, self.compensation_within)?;
        let timeout = period(&keys::SERVE_TIMEOUT, self.timeout)?;
        Ok(Defaults { timeout, action, compensation: UndoSchedule { quick, slow, within } })
    }
}

impl Watch {
    /// How the monitor works.
    ///
    /// # Errors
    /// When a value does not fit, or somebody would be called before the warning.
    pub(super) fn monitoring(&self, settings: &Settings) -> anyhow::Result<Monitoring> {
        let period = |key: &Key, flag: Option<Period>| settings.require(key, flag).map(Period::duration);
        let warn_after = period(&keys::SERVE_WARN_AFTER, self.warn_after)?;
        let page_after = period(&keys::SERVE_PAGE_AFTER, self.page_after)?;
        if page_after < warn_after {
            bail!("serve.page_after is shorter than serve.warn_after; `amends config` shows both");
        }
        Ok(Monitoring {
            probe_every: period(&keys::SERVE_MONITOR_EVERY, self.monitor_every)?,
            warn_after,
            page_after,
            audit_every: period(&keys::SERVE_AUDIT_EVERY, self.audit_every)?,
            audit_settle: period(&keys::SERVE_AUDIT_SETTLE, self.audit_settle)?,
            ..Monitoring::default()
        })
    }

    /// Who is told: the flags' or the environment's addresses, then the file's others.
    ///
    /// # Errors
    /// When an address or a secret is none.
    pub(super) fn hooks(&self, settings: &Settings) -> anyhow::Result<Vec<Hook>> {
        let secret: Option<HookSecret> = settings.get(&keys::SERVE_HOOK_SECRET, None)?;
        let urls = match self.hook.is_empty() {
            true => settings.get::<HookUrl>(&keys::SERVE_HOOK, None)?.into_iter().collect(),
            false => self.hook.clone(),
        };
        let secret = secret.as_ref().map(HookSecret::reveal);
        let own = urls.iter().map(|url| Hook::new(url.reveal(), secret, HookEvent::ALL.to_vec()));
        let mut hooks: Vec<Hook> = own.collect::<Result<_, _>>()?;
        for hook in settings.hooks() {
            if !hooks.iter().any(|known| known.is_at(hook)) {
                hooks.push(hook.clone());
            }
        }
        Ok(hooks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(clap::Parser)]
    struct Flags {
        #[command(flatten)]
        budgets: Budgets,
        #[command(flatten)]
        watch: Watch,
    }

    fn read(
        flags: &[&str],
        env: &[(&str, &str)],
        file: &str,
    ) -> anyhow::Result<(Defaults, Monitoring, Vec<Hook>)> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("amends.toml");
        std::fs::write(&path, file)?;
        let settings = Settings::read(Some(&path), |name| {
            env.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })?;
        let flags = Flags::try_parse_from([&["serve"], flags].concat())?;
        let defaults = flags.budgets.read(&settings)?;
        Ok((defaults, flags.watch.monitoring(&settings)?, flags.watch.hooks(&settings)?))
    }

    #[test]
    fn what_nobody_sets_is_what_the_coordinator_does_by_itself() {
        let (defaults, monitoring, hooks) = read(&[], &[], "").expect("good settings");
        assert_eq!(defaults, Defaults::default());
        assert_eq!(monitoring, Monitoring::default());
        assert!(hooks.is_empty());
    }

    #[test]
    fn every_line_of_defence_can_be_set_at_every_layer() {
        let flags = ["--compensation-quick", "1", "--warn-after", "1m"];
        let env = [("AMENDS_COMPENSATION_ATTEMPTS", "7"), ("AMENDS_PAGE_AFTER", "2m")];
        let file = "[serve]\ncompensation_within = \"1h\"\naction_attempts = 2\nmonitor_every = \"3s\"";
        let (defaults, monitoring, _) = read(&flags, &env, file).expect("good settings");
        let UndoSchedule { quick, slow, within } = defaults.compensation;
        assert_eq!((quick, slow.attempts, within.0, defaults.action.attempts), (1, 7, 3_600_000, 2));
        let seconds =
            [monitoring.warn_after, monitoring.page_after, monitoring.probe_every].map(|d| d.as_secs());
        assert_eq!(seconds, [60, 120, 3]);
    }

    #[test]
    fn hooks_of_flags_and_file_stand_beside_each_other() {
        let file = "[[hooks]]\nurl = \"http://127.0.0.1:1/a\"\nevents = [\"repair.opened\"]\n\
                    [[hooks]]\nurl = \"http://127.0.0.1:2/b\"\n";
        let (.., hooks) = read(&["--hook", "http://127.0.0.1:1/a"], &[], file).expect("good settings");
        let shown: Vec<String> = hooks.iter().map(Hook::place).collect();
        assert_eq!(shown, ["http://127.0.0.1:1", "http://127.0.0.1:2"]);
        let env = [("AMENDS_HOOK", "http://127.0.0.1:3/c")];
        assert_eq!(read(&[], &env, file).expect("good settings").2.len(), 3);
    }

    #[test]
    fn what_does_not_fit_is_refused_with_what_would() {
        for (flags, file, words) in [
            (&["--page-after", "1m"][..], "", "shorter than serve.warn_after"),
            (&["--action-first", "1m"][..], "", "longer than serve.action_max"),
            (&["--hook", "nonsense"][..], "", "is not a URL"),
            (&[][..], "[[hooks]]\nurl = \"http://127.0.0.1/\"\nevent = []", "did you mean \"events\"?"),
            (&[][..], "[[hooks]]\nurl = \"http://127.0.0.1/\"\nevents = [\"opened\"]", "hook 1 of [[hooks]]"),
            (&[][..], "[[hooks]]\nsecret = \"x\"", "it needs a \"url\""),
            (&[][..], "[hooks]\nurl = \"http://127.0.0.1/\"", "under [[hooks]]"),
        ] {
            let error = read(flags, &[], file).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.contains(words), "{flags:?} {file:?}: {error:?}");
        }
    }
}
