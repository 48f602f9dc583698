//! What can be asked on the command line, and its parser.
//!
//! Written by hand: a task runner is compiled before anything else, so it takes no argument library.

/// What `cargo xtask --help` prints.
pub(crate) const HELP: &str = "\
cargo xtask COMMAND

  test [ARGS...]                run every test of the workspace against throw-away PostgreSQL and MariaDB servers;
                                ARGS go to `cargo test`, for instance a part of a test's name or `-p amends-store`
  up                            start the two servers, print their URLs, and stop them on Ctrl-C
  sim [--seeds N] [--seed S]    run N simulated worlds (100000), or the one of seed S with its log
  model [--states N]            search wider models of the core, each up to N states (5000000)
  chaos [--kills N]             kill real processes N times under load (1000) and look at the books
  fuzz [--seconds N]            read mangled definitions for N seconds (60): no crash, no hang, every fault in its place
  check                         formatting, lints and documentation, all of them strict

The servers come from the distribution's packages (Debian and Ubuntu: postgresql, mariadb-server-core and
mariadb-client-core), and so do a few tools (curl, jq, openssl, python3). What is missing is installed with apt-get
when this runs as root or sudo is there. A server of your own is used instead when its URL stands in
AMENDS_TEST_POSTGRES or AMENDS_TEST_MYSQL; the tests create and drop databases of their own on it. The alert rules
are checked by promtool: the one of AMENDS_TEST_PROMTOOL, one that is installed, or that of the package prometheus,
which is unpacked below target and not installed. Whatever happens, the servers are stopped and their data is removed
at the end.
";

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    /// Print the help.
    Help,
    /// Run the tests; the arguments go to `cargo test`.
    Test(Vec<String>),
    /// Start the servers and wait.
    Up,
    /// Run the simulator.
    Sim {
        /// How many worlds to run.
        seeds: u64,
        /// The one world to run instead.
        seed: Option<u64>,
    },
    /// Explore the model.
    Model {
        /// The most states to visit.
        states: u64,
    },
    /// Kill real processes.
    Chaos {
        /// How many times.
        kills: u64,
    },
    /// Read mangled definitions.
    Fuzz {
        /// For how long.
        seconds: u64,
    },
    /// Formatting, lints and documentation.
    Check,
}

impl Command {
    /// Reads the arguments after the program's name; the error says which one is wrong and what is expected.
    pub(crate) fn parse(arguments: &[String]) -> Result<Self, String> {
        let Some((name, rest)) = arguments.split_first() else { return Ok(Self::Help) };
        match name.as_str() {
            "help" | "--help" | "-h" => Ok(Self::Help),
            "test" => Ok(Self::Test(rest.to_vec())),
            "up" => Options::of(rest).end().map(|()| Self::Up),
            "check" => Options::of(rest).end().map(|()| Self::Check),
            "sim" => {
                let mut options = Options::of(rest);
                let seeds = options.number("--seeds")?.unwrap_or(100_000);
                let seed = options.number("--seed")?;
                options.end().map(|()| Self::Sim { seeds, seed })
            }
            "model" => {
                let mut options = Options::of(rest);
                let states = options.number("--states")?.unwrap_or(5_000_000);
                options.end().map(|()| Self::Model { states })
            }
            "chaos" => {
                let mut options = Options::of(rest);
                let kills = options.number("--kills")?.unwrap_or(1000);
                options.end().map(|()| Self::Chaos { kills })
            }
            "fuzz" => {
                let mut options = Options::of(rest);
                let seconds = options.number("--seconds")?.unwrap_or(60);
                options.end().map(|()| Self::Fuzz { seconds })
            }
            other => Err(format!("there is no command \"{other}\"")),
        }
    }
}

/// The words after a command, taken one option at a time.
struct Options(Vec<String>);

impl Options {
    fn of(words: &[String]) -> Self {
        Self(words.iter().flat_map(|word| word.splitn(2, '=').map(str::to_owned)).collect())
    }

    /// Takes `name` and the number after it.
    fn number(&mut self, name: &str) -> Result<Option<u64>, String> {
        let Some(at) = self.0.iter().position(|word| word == name) else { return Ok(None) };
        self.0.remove(at);
        if at == self.0.len() {
            return Err(format!("{name} needs a number after it"));
        }
        let value = self.0.remove(at);
        value.parse().map(Some).map_err(|_| format!("{name} takes a whole number, not \"{value}\""))
    }

    /// Refuses what nobody took.
    fn end(self) -> Result<(), String> {
        self.0.first().map_or(Ok(()), |word| Err(format!("\"{word}\" is not an option of this command")))
    }
}

#[cfg(test)]
mod tests;
