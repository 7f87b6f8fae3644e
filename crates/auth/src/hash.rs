//! Hashes of passwords, as a password file has them.
//!
//! | line | how |
//! |---|---|
//! | `$argon2id$v=19$m=19456,t=2,p=1$SALT$HASH` | Argon2id (RFC 9106), with its costs; what we write |
//! | `$7$ITERATIONS$SALT$HASH` | PBKDF2 with HMAC-SHA-512, of Mosquitto since 2.0 |
//! | `$6$SALT$HASH` | SHA-512 of password and salt, once, of older ones: cheap to guess |
//!
//! Costs have bounds, so that a line in a file cannot take all memory or a processor for minutes.

use std::fmt;
use std::num::NonZeroU32;
use std::ops::RangeInclusive;

use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::{constant_time, digest, pbkdf2, rand};

use crate::encoding::{from_base64, from_phc, to_base64, to_phc};

/// A password that can be recognised, but not read.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Hash {
    kind: Kind,
    salt: Vec<u8>,
    hash: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Argon2id { memory_kib: u32, passes: u32, lanes: u32 },
    Pbkdf2Sha512 { iterations: NonZeroU32 },
    Sha512,
}

/// Why a text is no hash, in words for whoever wrote the file. They repeat nothing of the text.
pub(crate) type Mistake = &'static str;

impl Hash {
    /// Hashes a password with Argon2id. Nothing comes of it when the system has no randomness or no memory.
    pub(crate) fn of(password: &[u8]) -> Option<Self> {
        let mut salt = vec![0; SALT_BYTES];
        rand::fill(&mut salt).ok()?;
        let kind = Kind::Argon2id {
            memory_kib: Params::DEFAULT_M_COST,
            passes: Params::DEFAULT_T_COST,
            lanes: Params::DEFAULT_P_COST,
        };
        let hash = kind.hash(password, &salt, HASH_BYTES)?;
        Some(Self { kind, salt, hash })
    }

    pub(crate) fn parse(text: &str) -> Result<Self, Mistake> {
        let fields: Vec<&str> = text.split('$').collect();
        let (kind, salt, hash) = match *fields {
            ["", "argon2id", "v=19", costs, salt, hash] => {
                (argon2_costs(costs)?, from_phc(salt), from_phc(hash))
            }
            ["", "argon2id", ..] => return Err("it is no Argon2id hash of version 19"),
            ["", "7", iterations, salt, hash] => {
                let iterations: Option<u32> = iterations.parse().ok();
                let iterations = iterations.filter(|it| *it <= ITERATIONS_MAX);
                let iterations = iterations
                    .and_then(NonZeroU32::new)
                    .ok_or("its number of iterations is not from 1 to 10,000,000")?;
                (Kind::Pbkdf2Sha512 { iterations }, from_base64(salt), from_base64(hash))
            }
            ["", "6", salt, hash] => (Kind::Sha512, from_base64(salt), from_base64(hash)),
            _ => return Err("it has no hash of a kind that is known ($argon2id$, $7$ or $6$)"),
        };
        let salt = salt.filter(|it| SALT_LENGTHS.contains(&it.len()));
        let salt = salt.ok_or("its salt is not whole")?;
        let lengths = match kind {
            Kind::Argon2id { .. } => 16..=64,
            Kind::Pbkdf2Sha512 { .. } | Kind::Sha512 => 64..=64,
        };
        let hash = hash.filter(|it| lengths.contains(&it.len())).ok_or("its hash is not whole")?;
        Ok(Self { kind, salt, hash })
    }

    /// Returns whether it is the hash of this password. Takes the time that it costs.
    pub(crate) fn is_of(&self, password: &[u8]) -> bool {
        let hash = self.kind.hash(password, &self.salt, self.hash.len());
        hash.is_some_and(|it| constant_time::verify_slices_are_equal(&it, &self.hash).is_ok())
    }
}

impl Kind {
    fn hash(self, password: &[u8], salt: &[u8], bytes: usize) -> Option<Vec<u8>> {
        let mut hash = vec![0; bytes];
        match self {
            Self::Argon2id { memory_kib, passes, lanes } => {
                let params = Params::new(memory_kib, passes, lanes, Some(bytes)).ok()?;
                let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
                argon2.hash_password_into(password, salt, &mut hash).ok()?;
            }
            Self::Pbkdf2Sha512 { iterations } => {
                pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA512, iterations, salt, password, &mut hash);
            }
            Self::Sha512 => {
                let mut context = digest::Context::new(&digest::SHA512);
                context.update(password);
                context.update(salt);
                hash = context.finish().as_ref().to_vec();
            }
        }
        Some(hash)
    }
}

/// Reads `m=19456,t=2,p=1`.
fn argon2_costs(text: &str) -> Result<Kind, Mistake> {
    let mut costs = text.split(',');
    let mut cost = |name: &str, range: RangeInclusive<u32>| {
        let value = costs.next()?.strip_prefix(name)?.parse().ok()?;
        range.contains(&value).then_some(value)
    };
    let read = (cost("m=", 8..=MEMORY_MAX_KIB), cost("t=", 1..=16), cost("p=", 1..=16));
    match (read, costs.next()) {
        ((Some(memory_kib), Some(passes), Some(lanes)), None) if memory_kib >= 8 * lanes => {
            Ok(Kind::Argon2id { memory_kib, passes, lanes })
        }
        _ => Err("its costs are not m= up to 65536, t= up to 16 and p= up to 16"),
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (salt, hash) = (&self.salt, &self.hash);
        match self.kind {
            Kind::Argon2id { memory_kib, passes, lanes } => {
                write!(f, "$argon2id$v=19$m={memory_kib},t={passes},p={lanes}")?;
                write!(f, "${}${}", to_phc(salt), to_phc(hash))
            }
            Kind::Pbkdf2Sha512 { iterations } => {
                let (salt, hash) = (to_base64(salt), to_base64(hash));
                write!(f, "$7${iterations}${salt}${hash}")
            }
            Kind::Sha512 => {
                let (salt, hash) = (to_base64(salt), to_base64(hash));
                write!(f, "$6${salt}${hash}")
            }
        }
    }
}

const SALT_BYTES: usize = 16;
const HASH_BYTES: usize = 32;
const SALT_LENGTHS: RangeInclusive<usize> = 8..=64;

/// What one hash may take of memory: 64 MiB.
const MEMORY_MAX_KIB: u32 = 65_536;

/// About ten seconds of a processor.
const ITERATIONS_MAX: u32 = 10_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_we_write_is_what_we_read() {
        let hash = Hash::of(b"pencil").unwrap();
        let read = Hash::parse(&hash.to_string()).unwrap();
        assert!(read == hash && read.is_of(b"pencil"));
        assert!(!read.is_of(b"Pencil") && !read.is_of(b""));
    }

    /// Made with Python's hashlib, by Mosquitto's recipe.
    #[test]
    fn hashes_of_mosquitto() {
        check(PBKDF2, true);
        check(SHA512, true);
        check(&PBKDF2.replace("$7$101$", "$7$102$"), false);
    }

    #[test]
    fn lines_that_are_none_are_refused() {
        for text in [
            "",
            "pencil",
            "$",
            "$5$AAAAAAAAAAAAAAAA$AAAA",
            "$7$0$AAAAAAAAAAAAAAAA$AAAA",
            "$7$4000000000$AAAAAAAAAAAAAAAA$AAAA",
            &PBKDF2[..PBKDF2.len() - 4],
            &SHA512[..SHA512.len() - 8],
            "$argon2id$v=19$m=4194304,t=2,p=1$AAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            "$argon2id$v=19$m=19456,t=2$AAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            "$argon2id$v=16$m=19456,t=2,p=1$AAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        ] {
            assert!(Hash::parse(text).is_err(), "{text}");
        }
    }

    #[track_caller]
    fn check(text: &str, expected: bool) {
        let hash = Hash::parse(text).unwrap();
        assert_eq!(hash.is_of(b"pencil"), expected);
        assert_eq!(hash.to_string(), text);
    }

    const PBKDF2: &str = "$7$101$dHdlbHZlIGJ5dGVz$vjhWZ/b7K9MQFKi4I8pDJMQcQhpY9M5rb22xtALhY0wFNMPKNUHHufGXvti4M0KesPjVoWtQYIkNB8DV0jweGA==";
    const SHA512: &str = "$6$dHdlbHZlIGJ5dGVz$NPuzQBXK6NJTOQHUMNsMZHL3eBBnrIDLHypSSFbq/ohtzGzOnN60WRClpCXjBFw3DQq4d4zWKTcroJqzYUORSA==";
}
