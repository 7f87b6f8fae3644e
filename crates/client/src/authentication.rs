//! The client's part in an enhanced authentication (MQTT 5 section 4.12).

/// Shows the broker who the client is, in an exchange of their own.
pub trait Authenticator: Send + Sync {
    /// Returns the name of the method, such as `SCRAM-SHA-256`.
    fn method(&self) -> &str;

    /// Begins an exchange: one for each connection, and for each re-authentication.
    fn begin(&self) -> Box<dyn Exchange>;
}

/// One authentication, step by step. It must not call the client, which waits for it.
pub trait Exchange: Send {
    /// Returns what the client says first.
    fn first(&mut self) -> Vec<u8>;

    /// Returns the answer to what the broker says.
    ///
    /// # Errors
    ///
    /// Why the broker is not to be trusted, or the client cannot go on: it closes the connection.
    fn answer(&mut self, data: &[u8]) -> Result<Vec<u8>, String>;

    /// Judges what the broker says at the end, when it has accepted the client.
    ///
    /// # Errors
    ///
    /// Why the broker is not to be trusted: the client closes the connection.
    fn finish(&mut self, data: Option<&[u8]>) -> Result<(), String>;
}
