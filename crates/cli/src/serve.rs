//! `quelea serve`: runs the broker until a signal stops it.

use quelea_broker::{Broker, Config, Signal};

use crate::config::ConfigArgs;
use crate::failure::Failure;
use crate::logging::Logging;

/// What `quelea serve --help` ends with.
pub(crate) const AFTER_HELP: &str = "\
Flags win over environment variables (QUELEA_…), those over the file, and that over the defaults; \
`quelea config show` prints what they make together, `quelea config example` every setting there is.

SIGTERM and SIGINT stop the broker in good order, a second one at once. SIGHUP reads the configuration again.";

/// Runs `quelea serve`.
pub(crate) fn run(args: &ConfigArgs) -> Result<(), Failure> {
    let mut running = args.load()?.config;
    let logging = Logging::start(&running.log)?;
    let broker = Broker::start(running.clone()).map_err(Failure::new)?;
    if running.store.is_in_memory() {
        tracing::info!("sessions and messages live in memory: they are gone when the broker stops");
    }
    loop {
        match broker.wait_for_signal() {
            Signal::Reload => {
                reload(args, &mut running, &logging);
                broker.reload_files();
            }
            Signal::Stop => {
                broker.stop();
                return Ok(());
            }
            // Not stopped in good order: that would be to go on as if nothing had happened.
            Signal::Failed(error) => {
                tracing::error!(%error, "the disk has failed: the broker stops at once");
                return Err(Failure::new(format!(
                    "{error}\n\nNothing was acknowledged that is not on the disk. Look at the disk and its \
                     file system, then start again: what was acknowledged is recovered."
                )));
            }
        }
    }
}

/// Applies what can be applied to a running broker, and says of the rest that it needs a restart.
fn reload(args: &ConfigArgs, running: &mut Config, logging: &Logging) {
    let next = match args.load() {
        Ok(loaded) => loaded.config,
        Err(failure) => {
            tracing::error!("the configuration is not reloaded: {failure}");
            return;
        }
    };
    if next.listeners != running.listeners {
        tracing::warn!("the listeners have changed, which needs a restart");
    }
    for setting in Config::settings() {
        let (old, new) = (setting.show(running), setting.show(&next));
        if old == new {
            continue;
        }
        let [old, new] = [old, new].map(|value| value.unwrap_or_else(|| "not set".to_owned()));
        let effect =
            if setting.key() == RELOADED_KEY { "from here on" } else { "which needs a restart" };
        tracing::info!("{} changes from {old} to {new}, {effect}", setting.key());
    }
    match logging.reload(&next.log) {
        Ok(()) => running.log.level = next.log.level,
        Err(failure) => tracing::error!("{failure}"),
    }
    tracing::info!("the configuration is reloaded");
}

/// The setting that a running broker takes up.
const RELOADED_KEY: &str = "log.level";
