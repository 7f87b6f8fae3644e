//! `quelea serve`: runs the broker until a signal stops it.

use quelea_broker::config::TakesEffect;
use quelea_broker::{Broker, Signal};

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
    let config = args.load()?.config;
    let logging = Logging::start(&config.log)?;
    let is_in_memory = config.store.is_in_memory();
    let broker = Broker::start(config).map_err(Failure::new)?;
    if is_in_memory {
        tracing::info!("sessions and messages live in memory: they are gone when the broker stops");
    }
    loop {
        match broker.wait_for_signal() {
            Signal::Reload => reload(args, &broker, &logging),
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
fn reload(args: &ConfigArgs, broker: &Broker, logging: &Logging) {
    // The files of TLS are not part of the configuration: they are read again in any case.
    broker.reload_files();
    let next = match args.load() {
        Ok(loaded) => loaded.config,
        Err(failure) => {
            tracing::error!("the configuration is not reloaded: {failure}");
            return;
        }
    };
    let changes = match broker.reload(&next) {
        Ok(changes) => changes,
        Err(mistakes) => {
            tracing::error!(
                "the configuration is not reloaded: with what only a restart changes it is no good: {mistakes}"
            );
            return;
        }
    };
    for change in changes {
        match change.takes_effect {
            TakesEffect::AtOnce => tracing::info!("{change}"),
            TakesEffect::AtRestart => tracing::warn!("{change}"),
        }
    }
    if let Err(failure) = logging.reload(&next.log) {
        tracing::error!("{failure}");
    }
    tracing::info!("the configuration is reloaded");
}
