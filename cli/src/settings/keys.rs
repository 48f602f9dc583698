//! Every setting there is, in the order in which `amends config` shows them.

use super::{
    Attempts, BaseUrl, Factor, HookSecret, HookUrl, Listen, LogFormat, Period, Quick, Store, Switch, Token,
};
use amends_payment::Behaviour;
use amends_server::Sample;
use amends_wire::span::Span;
use std::{fmt, num::NonZeroUsize, path::PathBuf, str::FromStr};

/// One setting.
#[derive(Debug)]
pub struct Key {
    /// The table of the file it stands in; empty for the top.
    pub table: &'static str,
    /// Its name in the file.
    pub name: &'static str,
    /// Its environment variable.
    pub env: &'static str,
    /// What holds when nobody says anything.
    pub default: Option<&'static str>,
    /// What it is, in a few words.
    pub about: &'static str,
    /// Whether its value must not be shown.
    pub secret: bool,
    /// Says what is wrong with a text, if anything is.
    pub misfit: fn(&str) -> Option<String>,
}

/// What is wrong with a text that is to be a `T`.
fn read<T: FromStr<Err: fmt::Display>>(text: &str) -> Option<String> {
    text.parse::<T>().err().map(|error| error.to_string())
}

impl Key {
    const fn new(table: &'static str, name: &'static str, env: &'static str, about: &'static str) -> Key {
        Key { table, name, env, default: None, about, secret: false, misfit: read::<String> }
    }

    const fn is(mut self, misfit: fn(&str) -> Option<String>) -> Key {
        self.misfit = misfit;
        self
    }

    const fn or(mut self, default: &'static str) -> Key {
        self.default = Some(default);
        self
    }

    const fn hidden(mut self) -> Key {
        self.secret = true;
        self
    }

    /// The flag that sets it.
    pub fn flag(&self) -> String {
        format!("--{}", self.name.replace('_', "-"))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.table {
            "" => f.write_str(self.name),
            table => write!(f, "{table}.{}", self.name),
        }
    }
}

/// Where the coordinator answers.
pub static COORDINATOR: Key =
    Key::new("", "coordinator", "AMENDS_COORDINATOR", "where the coordinator answers")
        .or("http://127.0.0.1:7070")
        .is(read::<BaseUrl>);
/// The bearer token.
pub static TOKEN: Key =
    Key::new("", "token", "AMENDS_TOKEN", "the bearer token to send; `serve` accepts it as admin")
        .hidden()
        .is(read::<Token>);
/// What to log.
pub static LOG: Key = Key::new("", "log", "AMENDS_LOG", "what to log; info for services, warn otherwise");
/// How to write the log.
pub static LOG_FORMAT: Key =
    Key::new("", "log_format", "AMENDS_LOG_FORMAT", "text or json").or("text").is(read::<LogFormat>);
/// Where traces go.
pub static OTLP: Key =
    Key::new("", "otlp", "AMENDS_OTLP", "where traces go: an OpenTelemetry collector, OTLP over HTTP")
        .is(read::<BaseUrl>);

/// Where a coordinator listens.
pub static SERVE_LISTEN: Key = Key::new("serve", "listen", "AMENDS_LISTEN", "the address to listen on")
    .or("127.0.0.1:7070")
    .is(read::<Listen>);
/// By which address participants reach a coordinator.
pub static SERVE_PUBLIC_URL: Key = Key::new(
    "serve",
    "public_url",
    "AMENDS_PUBLIC_URL",
    "the address by which participants call back, if not that it listens on",
)
.is(read::<BaseUrl>);
/// Where a coordinator keeps its sagas.
pub static SERVE_STORE: Key = Key::new("serve", "store", "AMENDS_STORE", "where sagas are kept")
    .or("sqlite:./amends-data/coordinator.db")
    .is(read::<Store>);
/// Whether several coordinators use the same file.
pub static SERVE_SHARED: Key =
    Key::new("serve", "shared", "AMENDS_SHARED", "several coordinators on one file")
        .or("false")
        .is(read::<Switch>);
/// What a coordinator is called.
pub static SERVE_NAME: Key = Key::new("serve", "name", "AMENDS_NAME", "its name in journals and logs");
/// The file with tokens and roles.
pub static SERVE_TOKENS_FILE: Key =
    Key::new("serve", "tokens_file", "AMENDS_TOKENS_FILE", "lines of a role and a token").is(read::<PathBuf>);
/// Sagas that have not ended, at most.
pub static SERVE_SAGAS_MAX: Key =
    Key::new("serve", "sagas_max", "AMENDS_SAGAS_MAX", "sagas that have not ended, at most")
        .or("100000")
        .is(read::<NonZeroUsize>);
/// Worker threads of a coordinator.
pub static SERVE_THREADS: Key =
    Key::new("serve", "threads", "AMENDS_THREADS", "worker threads").or("2").is(read::<NonZeroUsize>);
/// Definitions registered at the start.
pub static SERVE_DEFINITIONS: Key = Key::new(
    "serve",
    "definitions",
    "AMENDS_DEFINITIONS",
    "a directory of definitions to register at the start",
)
.is(read::<PathBuf>);
/// Which sagas a coordinator traces whole.
pub static SERVE_OTLP_SAMPLE: Key = Key::new(
    "serve",
    "otlp_sample",
    "AMENDS_OTLP_SAMPLE",
    "the share of sagas traced whole; what goes wrong always is",
)
.or("1")
.is(read::<Sample>);

/// A setting of `amends serve` with a default.
macro_rules! serve {
    ($($(#[$doc:meta])* $key:ident: $type:ty = $name:literal, $env:literal, $default:literal, $about:literal;)*) => {
        $($(#[$doc])* pub static $key: Key =
            Key::new("serve", $name, $env, $about).or($default).is(read::<$type>);)*
    };
}

serve! {
    /// The bound on one attempt.
    SERVE_TIMEOUT: Period = "timeout", "AMENDS_TIMEOUT", "5s", "the bound on one attempt";
    /// Attempts of an action.
    SERVE_ACTION_ATTEMPTS: Attempts =
        "action_attempts", "AMENDS_ACTION_ATTEMPTS", "5", "attempts of an action";
    /// An action's first wait.
    SERVE_ACTION_FIRST: Period =
        "action_first", "AMENDS_ACTION_FIRST", "100ms", "the wait before its second attempt";
    /// What an action's waits are multiplied by.
    SERVE_ACTION_FACTOR: Factor =
        "action_factor", "AMENDS_ACTION_FACTOR", "2", "what each further wait is multiplied by";
    /// An action's longest wait.
    SERVE_ACTION_MAX: Period = "action_max", "AMENDS_ACTION_MAX", "5s", "the longest wait";
    /// Quick attempts of a compensation.
    SERVE_COMPENSATION_QUICK: Quick =
        "compensation_quick", "AMENDS_COMPENSATION_QUICK", "3", "attempts of a compensation in line";
    /// Slow attempts of a compensation.
    SERVE_COMPENSATION_ATTEMPTS: Attempts =
        "compensation_attempts", "AMENDS_COMPENSATION_ATTEMPTS", "12", "attempts after those, on the slow schedule";
    /// A compensation's first slow wait.
    SERVE_COMPENSATION_FIRST: Period =
        "compensation_first", "AMENDS_COMPENSATION_FIRST", "1s", "the first wait of the slow schedule";
    /// What a compensation's waits are multiplied by.
    SERVE_COMPENSATION_FACTOR: Factor =
        "compensation_factor", "AMENDS_COMPENSATION_FACTOR", "2", "what each further wait is multiplied by";
    /// A compensation's longest wait.
    SERVE_COMPENSATION_MAX: Period =
        "compensation_max", "AMENDS_COMPENSATION_MAX", "5m", "the longest wait";
    /// The age at which a compensation is given up.
    SERVE_COMPENSATION_WITHIN: Period =
        "compensation_within", "AMENDS_COMPENSATION_WITHIN", "24h", "the age at which it is parked";
    /// Between two rounds of questions.
    SERVE_MONITOR_EVERY: Period =
        "monitor_every", "AMENDS_MONITOR_EVERY", "30s", "between two rounds of questions about stuck steps";
    /// When items are warned of.
    SERVE_WARN_AFTER: Period =
        "warn_after", "AMENDS_WARN_AFTER", "15m", "the age at which a repair item is warned of";
    /// When somebody is called.
    SERVE_PAGE_AFTER: Period =
        "page_after", "AMENDS_PAGE_AFTER", "1h", "the age at which somebody is called to it";
    /// Between two audits.
    SERVE_AUDIT_EVERY: Period =
        "audit_every", "AMENDS_AUDIT_EVERY", "5m", "between two comparisons of participants with sagas";
    /// How long sagas must have been at rest.
    SERVE_AUDIT_SETTLE: Period =
        "audit_settle", "AMENDS_AUDIT_SETTLE", "60s", "how long sagas must have been at rest for that";
}

/// Who is told of repair items. It may hold a secret.
pub static SERVE_HOOK: Key =
    Key::new("serve", "hook", "AMENDS_HOOK", "who is told of repair items, beside [[hooks]]")
        .hidden()
        .is(read::<HookUrl>);
/// What messages to it are signed with.
pub static SERVE_HOOK_SECRET: Key =
    Key::new("serve", "hook_secret", "AMENDS_HOOK_SECRET", "what messages to that hook are signed with")
        .hidden()
        .is(read::<HookSecret>);

/// The settings of one participant.
#[derive(Debug)]
pub struct ParticipantKeys {
    /// Where it listens.
    pub listen: &'static Key,
    /// Where its data is.
    pub store: &'static Key,
    /// What it registers as its address.
    pub advertise: &'static Key,
    /// Between two checks of its own laws.
    pub audit_every: &'static Key,
}

macro_rules! participant {
    ($keys:ident, $listen:ident, $store:ident, $advertise:ident, $audit:ident, $table:literal, $port:literal) => {
        static $listen: Key = Key::new($table, "listen", "AMENDS_LISTEN", "the address to listen on")
            .or(concat!("127.0.0.1:", $port))
            .is(read::<Listen>);
        static $store: Key = Key::new($table, "store", "AMENDS_STORE", "where its data is kept")
            .or(concat!("sqlite:./amends-data/", $table, ".db"))
            .is(read::<Store>);
        static $advertise: Key = Key::new(
            $table,
            "advertise",
            "AMENDS_ADVERTISE",
            "the address it registers, if not that it listens on",
        )
        .is(read::<BaseUrl>);
        static $audit: Key = Key::new(
            $table,
            "audit_every",
            "AMENDS_AUDIT_EVERY",
            "between two checks of its own laws; 0s for never",
        )
        .or("5m")
        .is(read::<Span>);
        /// The settings of this participant.
        pub static $keys: ParticipantKeys = ParticipantKeys {
            listen: &$listen,
            store: &$store,
            advertise: &$advertise,
            audit_every: &$audit,
        };
    };
}

participant!(
    INVENTORY,
    INVENTORY_LISTEN,
    INVENTORY_STORE,
    INVENTORY_ADVERTISE,
    INVENTORY_AUDIT,
    "inventory",
    "7101"
);
participant!(ORDER, ORDER_LISTEN, ORDER_STORE, ORDER_ADVERTISE, ORDER_AUDIT, "order", "7102");
participant!(PAYMENT, PAYMENT_LISTEN, PAYMENT_STORE, PAYMENT_ADVERTISE, PAYMENT_AUDIT, "payment", "7104");
participant!(PRODUCT, PRODUCT_LISTEN, PRODUCT_STORE, PRODUCT_ADVERTISE, PRODUCT_AUDIT, "product", "7103");

/// Whose change feed the catalogue follows.
pub static PRODUCT_FOLLOW: Key =
    Key::new("product", "follow", "AMENDS_FOLLOW", "the inventory whose stock it shows").is(read::<BaseUrl>);

/// The order service that the inventory asks about holds whose time is up.
pub static INVENTORY_ORDERS: Key = Key::new(
    "inventory",
    "orders",
    "AMENDS_ORDERS",
    "the order service it asks about holds whose time is up",
)
.is(read::<BaseUrl>);

/// How the payment provider behaves.
pub static PAYMENT_BEHAVIOUR: Key =
    Key::new("payment", "behaviour", "AMENDS_BEHAVIOUR", "how charges are answered, modes with weights")
        .or("at_once")
        .is(read::<Behaviour>);

/// All of them.
pub static ALL: &[&Key] = &[
    &COORDINATOR,
    &TOKEN,
    &LOG,
    &LOG_FORMAT,
    &OTLP,
    &SERVE_LISTEN,
    &SERVE_PUBLIC_URL,
    &SERVE_STORE,
    &SERVE_SHARED,
    &SERVE_NAME,
    &SERVE_TOKENS_FILE,
    &SERVE_SAGAS_MAX,
    &SERVE_THREADS,
    &SERVE_DEFINITIONS,
    &SERVE_OTLP_SAMPLE,
    &SERVE_TIMEOUT,
    &SERVE_ACTION_ATTEMPTS,
    &SERVE_ACTION_FIRST,
    &SERVE_ACTION_FACTOR,
    &SERVE_ACTION_MAX,
    &SERVE_COMPENSATION_QUICK,
    &SERVE_COMPENSATION_ATTEMPTS,
    &SERVE_COMPENSATION_FIRST,
    &SERVE_COMPENSATION_FACTOR,
    &SERVE_COMPENSATION_MAX,
    &SERVE_COMPENSATION_WITHIN,
    &SERVE_MONITOR_EVERY,
    &SERVE_WARN_AFTER,
    &SERVE_PAGE_AFTER,
    &SERVE_AUDIT_EVERY,
    &SERVE_AUDIT_SETTLE,
    &SERVE_HOOK,
    &SERVE_HOOK_SECRET,
    &INVENTORY_LISTEN,
    &INVENTORY_STORE,
    &INVENTORY_ADVERTISE,
    &INVENTORY_AUDIT,
    &ORDER_LISTEN,
    &ORDER_STORE,
    &ORDER_ADVERTISE,
    &ORDER_AUDIT,
    &PAYMENT_LISTEN,
    &PAYMENT_STORE,
    &PAYMENT_ADVERTISE,
    &PAYMENT_AUDIT,
    &PAYMENT_BEHAVIOUR,
    &PRODUCT_LISTEN,
    &PRODUCT_STORE,
    &PRODUCT_ADVERTISE,
    &PRODUCT_AUDIT,
    &PRODUCT_FOLLOW,
    &INVENTORY_ORDERS,
];

/// Finds a key by its place in the file.
pub fn find(table: &str, name: &str) -> Option<&'static Key> {
    ALL.iter().copied().find(|key| key.table == table && key.name == name)
}
