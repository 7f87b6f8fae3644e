//! The table `[authentication]`: who is asked who clients are.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use super::setting::settings;

settings! {
    /// Who clients are. Once somebody is asked, those whom nobody knows are refused, and so are clients without a
    /// user name, unless `allow_anonymous = true`.
    pub struct Authentication in [authentication] {
        /// A file of users and their passwords, made by `quelea passwd`, or by `mosquitto_passwd`. It is read again
        /// within seconds when it has changed; a file that is wrong is logged and changes nothing. Clients of MQTT 5.0
        /// can use it by SCRAM-SHA-256 too, which tells nobody the password.
        pub password_file: Option<PathBuf> = None, Path;

        /// Authentications that are worked out at once, on threads that yield to those that serve clients. A password
        /// takes 19 MiB of memory and some 20 milliseconds meanwhile. Others wait, 1,024 at most; who finds no
        /// room, or waits for longer than `limits.connect_timeout_secs`, is refused (5.0: 0x89, Server busy; 3.x:
        /// 0x03). Unset, one for each processor core.
        pub at_once_max: Option<NonZeroUsize> = None, Count(1..=64);
    }
}

impl Authentication {
    /// Returns whether anybody is asked.
    pub(crate) fn is_configured(&self) -> bool {
        self.password_file.is_some()
    }
}
